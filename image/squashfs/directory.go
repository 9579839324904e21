package squashfs

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kiln-farm/kiln/image/fstree"
)

// headEntries is how many entries may follow one header in a listing (SQUASHFS_DIR_COUNT).
const headEntries = 256

// listing is where a directory's entries are in the directory table.
type listing struct {
	at    reference
	size  int // in bytes
	index []indexEntry
}

// indexEntry says with which name a header starts that is the first in its metadata block, so that a name in a large
// directory is found without reading all of it.
type indexEntry struct {
	offset int // in the listing
	block  uint32
	name   string
}

// numbered is a hard-linked node that has its inode number.
type numbered struct {
	number  uint32
	at      reference
	written bool
}

// directory writes everything below a directory and its listing. The inodes of its children follow each other, in the
// order of their numbers, so that the listing needs few headers; its own inode is among its siblings'.
func (a *assembler) directory(path string, d *fstree.Node, number uint32) (listing, error) {
	numbers := make([]uint32, len(d.Children))
	for i, c := range d.Children {
		numbers[i] = a.number(c.Node)
	}
	var below []listing
	for i, c := range d.Children {
		if c.Node.Type != tar.TypeDir {
			continue
		}
		l, err := a.directory(path+c.Name+"/", c.Node, numbers[i])
		if err != nil {
			return listing{}, err
		}
		below = append(below, l)
	}
	refs := make([]reference, len(d.Children))
	for i, c := range d.Children {
		switch linked := a.linked[c.Node]; {
		case c.Node.Type == tar.TypeDir:
			refs[i] = a.directoryInode(c.Node, numbers[i], number, below[0])
			below = below[1:]
		case linked != nil && linked.written:
			refs[i] = linked.at
		default:
			at, err := a.inode(c.Node, numbers[i])
			if err != nil {
				return listing{}, fmt.Errorf("%s%s: %w", path, c.Name, err)
			}
			refs[i] = at
			if linked != nil {
				linked.at, linked.written = at, true
			}
		}
	}
	return a.list(d, numbers, refs), a.ctx.Err()
}

// number gives a node its inode number, counted from 1.
func (a *assembler) number(n *fstree.Node) uint32 {
	if linked := a.linked[n]; linked != nil {
		return linked.number
	}
	a.lookup = append(a.lookup, make([]byte, 8)...)
	number := uint32(len(a.lookup) / 8)
	if n.Links > 1 && n.Type != tar.TypeDir {
		a.linked[n] = &numbered{number: number}
	}
	return number
}

// list writes a directory's listing: headers, each followed by entries whose inodes are in one metadata block.
func (a *assembler) list(d *fstree.Node, numbers []uint32, refs []reference) listing {
	l := listing{at: a.dirs.here()}
	indexed := 0 // the metadata block, counted from that of the listing's start, up to which there is an index
	for i := 0; i < len(refs); {
		start := int(l.at.offset()) + l.size
		if block := start / metadataSize; block > indexed {
			l.index = append(l.index, indexEntry{l.size, a.dirs.here().block(), d.Children[i].Name})
			indexed = block
		}
		b, n := run(a.buf[:0], start%metadataSize, d.Children[i:], numbers[i:], refs[i:])
		a.dirs.write(b)
		a.buf = b
		l.size += len(b)
		i += n
	}
	if l.size <= metadataSize {
		l.index = nil // it would save nothing
	}
	return l
}

// run encodes a header and as many of the entries as can follow it (struct squashfs_dir_header and squashfs_dir_entry).
// At is where in its metadata block the header is; the entries all start in that block.
func run(b []byte, at int, children []fstree.Child, numbers []uint32, refs []reference) ([]byte, int) {
	le := binary.LittleEndian
	b = le.AppendUint32(b, 0) // how many entries, less one
	b = le.AppendUint32(b, refs[0].block())
	b = le.AppendUint32(b, numbers[0])
	n := 0
	for n < len(refs) && n < headEntries && refs[n].block() == refs[0].block() && (n == 0 || at+len(b) < metadataSize) {
		delta := int64(numbers[n]) - int64(numbers[0])
		if delta < math.MinInt16 || delta > math.MaxInt16 {
			break
		}
		b = le.AppendUint16(b, refs[n].offset())
		b = le.AppendUint16(b, uint16(int16(delta)))
		b = le.AppendUint16(b, inodeTypes[children[n].Node.Type])
		b = append(le.AppendUint16(b, uint16(len(children[n].Name)-1)), children[n].Name...)
		n++
	}
	le.PutUint32(b, uint32(n-1))
	return b, n
}
