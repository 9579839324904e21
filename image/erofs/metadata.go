package erofs

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
)

// writer writes the metadata behind the superblock.
type writer struct {
	*plan
	ctx    context.Context
	out    cache.Draft
	bodies *fstree.Bodies
	buf    []byte
}

// writeMetadata stores the blocks from the one behind the superblock up to the first of a file.
func writeMetadata(ctx context.Context, blobs cache.Blobs, p *plan) (*extents.List, error) {
	draft, err := blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer draft.Abort()
	w := &writer{plan: p, ctx: ctx, out: draft, bodies: fstree.NewBodies(ctx, blobs), buf: make([]byte, blockSize)}
	defer w.bodies.Close()
	if err := w.inodeBlocks(); err != nil {
		return nil, err
	}
	for n := range p.inodes {
		if err := w.ownBlocks(&p.inodes[n]); err != nil {
			return nil, err
		}
	}
	if err := w.padTo(int64(p.metadata) * blockSize); err != nil {
		return nil, err
	}
	d, size, err := draft.Commit()
	if err != nil {
		return nil, err
	}
	return extents.Blob(d, size), nil
}

// inodeBlocks writes the inodes in the order of their places, each with what is kept with it.
func (w *writer) inodeBlocks() error {
	order := make([]int32, len(w.inodes))
	for n := range order {
		order[n] = int32(n)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(w.inodes[a].number, w.inodes[b].number) })
	for _, n := range order {
		i := &w.inodes[n]
		if err := w.padTo(int64(i.number) * slotSize); err != nil {
			return err
		}
		w.out.Write(i.encode())
		if i.xattrs > 0 {
			encoded, _ := encodeXattrs(i.node.Xattrs)
			w.out.Write(encoded)
		}
		if !i.inline {
			continue
		}
		if err := w.tail(i); err != nil {
			return err
		}
	}
	return w.padTo(int64(w.slots.blocks) * blockSize)
}

// tail writes what does not fill a block.
func (w *writer) tail(i *inode) error {
	switch i.node.Type {
	case tar.TypeReg:
		p := w.buf[:i.tail()]
		if err := w.bodies.ReadAt(i.node.Body, p, i.size-int64(len(p))); err != nil {
			return err
		}
		_, err := w.out.Write(p)
		return err
	case tar.TypeSymlink:
		_, err := w.out.Write([]byte(i.node.Linkname))
		return err
	}
	return w.directory(i, func(block []byte) error {
		if len(block) == blockSize {
			return nil
		}
		_, err := w.out.Write(block)
		return err
	})
}

// ownBlocks writes the blocks of a directory or symbolic link.
func (w *writer) ownBlocks(i *inode) error {
	if i.regular() || i.blocks() == 0 {
		return nil
	}
	if err := w.padTo(int64(i.block) * blockSize); err != nil {
		return err
	}
	if i.node.Type == tar.TypeSymlink {
		_, err := w.out.Write([]byte(i.node.Linkname))
		return err
	}
	return w.directory(i, func(block []byte) error {
		if i.inline && len(block) < blockSize {
			return nil
		}
		_, err := w.out.Write(block)
		return err
	})
}

func (w *writer) directory(i *inode, f func([]byte) error) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	return directoryBlocks(i.node, i.parent, w.number, f)
}

// padTo writes zeros up to an offset of the image. Errors of what was written before show here.
func (w *writer) padTo(offset int64) error {
	rest := offset - blockSize - w.out.Size()
	if rest < 0 {
		return fmt.Errorf("something reaches %d bytes beyond its place at %d", -rest, offset)
	}
	clear(w.buf)
	for rest > 0 {
		n, err := w.out.Write(w.buf[:min(rest, blockSize)])
		if err != nil {
			return err
		}
		rest -= int64(n)
	}
	return nil
}

// identify makes the UUID of an image out of all that is in it, in the form of RFC 9562 §5.8.
func identify(lists ...*extents.List) (uuid [16]byte) {
	h := sha256.New()
	h.Write([]byte("kiln erofs 1\n"))
	for _, l := range lists {
		for _, e := range l.Runs() {
			sum := e.Blob.Sum()
			if e.Inline != nil {
				sum = sha256.Sum256(e.Inline)
			}
			h.Write(sum[:])
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(e.Offset)))
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(e.Length)))
		}
	}
	copy(uuid[:], h.Sum(nil))
	uuid[6] = uuid[6]&0x0f | 0x80
	uuid[8] = uuid[8]&0x3f | 0x80
	return uuid
}
