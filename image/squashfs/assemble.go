package squashfs

import (
	"context"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/step"
)

// Options of an image.
type Options struct {
	Compression Compression       // the one that the parts were compressed with
	Warn        func(line string) // takes what is left out of the image; nil drops it
}

// inlineTables is the size up to which an image's tables are in its description, and not in a blob.
const inlineTables = 256 << 10

// Assemble makes an image of the tree. Parts are what Compress made of the parts that the tree was built of, in the same
// order and with the same fstree.Options.
func Assemble(ctx context.Context, blobs cache.Blobs, root *fstree.Node, parts []Compressed, options Options) (*extents.List, error) {
	k, err := newCodec(options.Compression)
	if err != nil {
		return nil, err
	}
	l, err := lay(ctx, blobs, root, parts, options.Compression)
	if err != nil {
		return nil, err
	}
	a := &assembler{layout: l, ctx: ctx, codec: k, options: options, inodes: newMetadata(k), dirs: newMetadata(k), xattrs: newXattrs(k),
		owners: map[uint32]int{}, linked: map[*fstree.Node]*numbered{}, warned: map[string]bool{}}
	if err := a.tree(root); err != nil {
		return nil, err
	}
	tables, err := a.tables()
	if err != nil {
		return nil, err
	}
	out := extents.Bytes(a.super.encode())
	out.Append(&l.data)
	if err := appendBytes(ctx, blobs, out, tables); err != nil {
		return nil, err
	}
	out.Align(devicePadding)
	return out, nil
}

// assembler writes what an image has once.
type assembler struct {
	*layout
	ctx     context.Context
	codec   *codec
	options Options
	super   super

	inodes, dirs *metadata
	lookup       []byte // references to inodes by their numbers, 8 bytes each
	xattrs       *xattrs
	owners       map[uint32]int // places in ids
	ids          []byte
	linked       map[*fstree.Node]*numbered
	warned       map[string]bool
	buf          []byte
}

// tree writes inodes and directories.
func (a *assembler) tree(root *fstree.Node) error {
	number := a.number(root)
	l, err := a.directory("", root, number)
	if err != nil {
		return err
	}
	nobody := uint32(len(a.lookup)/8) + 1 // is the root's parent
	a.super.root = a.directoryInode(root, number, nobody, l)
	if len(a.owners) > maxIDs {
		return step.Failf("the image has files of %d users and groups, but squashfs takes %d; choose another format or give files fewer owners",
			len(a.owners), maxIDs)
	}
	return nil
}

// tables are what follows the data, in the order that the kernel insists on, each right behind the one before.
func (a *assembler) tables() ([]byte, error) {
	base := superSize + a.data.Size()
	b, err := a.inodes.finish()
	if err != nil {
		return nil, err
	}
	dirs, err := a.dirs.finish()
	if err != nil {
		return nil, err
	}
	s := &a.super
	s.compression, s.inodes, s.fragments, s.ids = a.options.Compression, uint32(len(a.lookup)/8), uint32(len(a.layout.fragments)/16), uint16(len(a.owners))
	s.inodeTable, s.dirTable = uint64(base), uint64(base+int64(len(b)))
	b = append(b, dirs...)
	for _, t := range []struct {
		entries []byte
		at      *uint64
	}{{a.layout.fragments, &s.fragmentTable}, {a.lookup, &s.lookupTable}, {a.ids, &s.idTable}} {
		if b, *t.at, err = appendTable(b, base, a.codec, t.entries, nil); err != nil {
			return nil, err
		}
	}
	if b, s.xattrTable, err = a.xattrs.appendTo(b, base, a.codec); err != nil {
		return nil, err
	}
	s.size = uint64(base + int64(len(b)))
	return b, nil
}

// appendBytes appends bytes, many of them as a blob.
func appendBytes(ctx context.Context, blobs cache.Blobs, out *extents.List, b []byte) error {
	if len(b) <= inlineTables {
		out.Bytes(b)
		return nil
	}
	draft, err := blobs.Create(ctx)
	if err != nil {
		return err
	}
	defer draft.Abort()
	if _, err := draft.Write(b); err != nil {
		return fmt.Errorf("store the tables of a squashfs image: %w", err)
	}
	d, size, err := draft.Commit()
	if err != nil {
		return fmt.Errorf("store the tables of a squashfs image: %w", err)
	}
	out.Add(artifact.Extent{Blob: d, Length: size})
	return nil
}

// warn tells of each kind of loss once.
func (a *assembler) warn(kind, line string) {
	if !a.warned[kind] && a.options.Warn != nil {
		a.warned[kind] = true
		a.options.Warn("warning: " + line)
	}
}
