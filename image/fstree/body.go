package fstree

import (
	"context"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/tree"
)

// maxOpen bounds the blobs that Bodies keeps open.
const maxOpen = 16

// Bodies reads bodies one after the other, opening each blob once. Close it.
type Bodies struct {
	ctx   context.Context
	blobs cache.Blobs
	open  map[cache.Digest]*cache.File
}

// NewBodies reads bodies from blobs.
func NewBodies(ctx context.Context, blobs cache.Blobs) *Bodies {
	return &Bodies{ctx: ctx, blobs: blobs, open: map[cache.Digest]*cache.File{}}
}

// ReadAt fills p with a body's bytes from off, which must be there.
func (r *Bodies) ReadAt(b tree.Body, p []byte, off int64) error {
	if off < 0 || b.Size < 0 || off > b.Size-int64(len(p)) {
		return fmt.Errorf("read a body of %d bytes: %d bytes at %d are beyond its end", b.Size, len(p), off)
	}
	if len(p) == 0 {
		return nil
	}
	if b.Inline != nil {
		if copy(p, b.Inline[min(off, int64(len(b.Inline))):]) < len(p) {
			return fmt.Errorf("a body of %d bytes has %d", b.Size, len(b.Inline))
		}
		return nil
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	f, ok := r.open[b.Blob]
	if !ok {
		if len(r.open) >= maxOpen {
			r.Close()
		}
		var err error
		if f, err = part.Open(r.ctx, r.blobs, b.Blob); err != nil {
			return err
		}
		r.open[b.Blob] = f
	}
	if b.Offset < 0 || b.Offset > f.Size-b.Size {
		return fmt.Errorf("a body of %d bytes at %d is beyond blob %s", b.Size, b.Offset, b.Blob)
	}
	if _, err := f.ReadAt(p, b.Offset+off); err != nil {
		return fmt.Errorf("read blob %s: %w", b.Blob, err)
	}
	return nil
}

// Close closes what is open; Bodies opens it again when it must.
func (r *Bodies) Close() {
	for d, f := range r.open {
		f.Close()
		delete(r.open, d)
	}
}
