package squashfs

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
)

// layout is which blocks of the parts are in the image, and where.
type layout struct {
	tables    []*table
	data      extents.List
	fragments []byte // entries of the fragment table
}

// lay reads the parts' tables and lays out the blocks that the tree needs, each file's contents once.
func lay(ctx context.Context, blobs cache.Blobs, root *fstree.Node, parts []Compressed, c Compression) (*layout, error) {
	l := &layout{}
	for _, p := range parts {
		t, err := readTable(ctx, blobs, p.Table, c)
		if err != nil {
			return nil, err
		}
		l.tables = append(l.tables, t)
	}
	err := fstree.Walk(root, func(name string, n *fstree.Node) error {
		if n.Type != tar.TypeReg || n.Body.Size == 0 {
			return nil
		}
		f, err := l.file(n)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		f.used = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.unite()
	for i, t := range l.tables {
		l.place(t, parts[i].Blocks)
	}
	return l, nil
}

// file is where a regular file that is not empty was compressed.
func (l *layout) file(n *fstree.Node) (*file, error) {
	if n.Part < 0 || int(n.Part) >= len(l.tables) {
		return nil, fmt.Errorf("it is of part %d, but there are %d compressed parts", n.Part, len(l.tables))
	}
	files := l.tables[n.Part].files
	i, ok := slices.BinarySearchFunc(files, n.Entry, func(f file, entry int32) int { return cmp.Compare(f.entry, entry) })
	if !ok {
		return nil, fmt.Errorf("compressed part %d has no file for entry %d", n.Part, n.Entry)
	}
	f := &files[i]
	if blocks := (n.Body.Size + blockSize - 1) / blockSize; int64(len(f.blocks)) != blocks && (len(f.blocks) > 0 || n.Body.Size >= blockSize) {
		return nil, fmt.Errorf("compressed part %d has %d blocks for entry %d, which has %d bytes", n.Part, len(f.blocks), n.Entry, n.Body.Size)
	}
	return f, nil
}

// unite finds files with equal contents; the first in the parts' order is in the image.
func (l *layout) unite() {
	first := map[contentKey]*file{}
	for _, t := range l.tables {
		for i := range t.files {
			f := &t.files[i]
			if !f.used {
				continue
			}
			if same, ok := first[f.key]; ok {
				f.same, f.used = same, false
				continue
			}
			first[f.key] = f
			if len(f.blocks) == 0 {
				t.fragments[f.fragment].used = true
			}
		}
	}
}

// place adds a part's blocks that are used, in their order.
func (l *layout) place(t *table, blocks cache.Digest) {
	fragments := t.fragments
	for i := range t.files {
		f := &t.files[i]
		if !f.used || len(f.blocks) == 0 {
			continue
		}
		for len(fragments) > 0 && fragments[0].start < f.start {
			l.fragment(&fragments[0], blocks)
			fragments = fragments[1:]
		}
		f.at = superSize + l.data.Size()
		l.data.Add(artifact.Extent{Blob: blocks, Offset: f.start, Length: f.length()})
	}
	for i := range fragments {
		l.fragment(&fragments[i], blocks)
	}
	for i := range t.files {
		if f := &t.files[i]; f.used && len(f.blocks) == 0 {
			f.fragment = t.fragments[f.fragment].number
		}
	}
}

// fragment adds a fragment block, when it is used.
func (l *layout) fragment(f *fragment, blocks cache.Digest) {
	if !f.used {
		return
	}
	const entrySize = 16 // struct squashfs_fragment_entry
	f.number = uint32(len(l.fragments) / entrySize)
	l.fragments = binary.LittleEndian.AppendUint64(l.fragments, uint64(superSize+l.data.Size()))
	l.fragments = binary.LittleEndian.AppendUint32(l.fragments, f.size)
	l.fragments = binary.LittleEndian.AppendUint32(l.fragments, 0)
	l.data.Add(artifact.Extent{Blob: blocks, Offset: f.start, Length: stored(f.size)})
}

// contents is what an inode says of where its file is.
type contents struct {
	start    int64
	blocks   []uint32
	fragment uint32 // its number in the image, or noFragment
	offset   uint32 // in the fragment, uncompressed
	holes    int64  // bytes of it that are not stored
}

func (l *layout) contents(n *fstree.Node) (contents, error) {
	if n.Body.Size == 0 {
		return contents{fragment: noFragment}, nil
	}
	f, err := l.file(n)
	if err != nil {
		return contents{}, err
	}
	if f.same != nil {
		f = f.same
	}
	if len(f.blocks) == 0 {
		return contents{fragment: f.fragment, offset: f.offset}, nil
	}
	c := contents{start: f.at, blocks: f.blocks, fragment: noFragment}
	for i, size := range f.blocks {
		if size == 0 {
			c.holes += min(blockSize, n.Body.Size-int64(i)*blockSize)
		}
	}
	return c, nil
}
