package squashfs

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/tree"
)

// Compressed is a part whose files are compressed: a blob of their blocks, and a table that says which is where.
type Compressed struct {
	Blocks, Table         cache.Digest
	BlocksSize, TableSize int64 // in bytes; Assemble does not need them
}

// Compress compresses the regular files of a part, each body once. It keeps all processors busy, and gives the same
// bytes however many there are.
func Compress(ctx context.Context, blobs cache.Blobs, p fstree.Part, options fstree.Options, c Compression) (*Compressed, error) {
	blocks, err := blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer blocks.Abort()
	records, err := blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer records.Abort()

	line, err := startPipeline(ctx, c, blocks, newTableWriter(records, c))
	if err != nil {
		return nil, err
	}
	q := &compressor{pipeline: line, bodies: fstree.NewBodies(ctx, blobs), packed: map[contentKey]place{}}
	defer q.bodies.Close()
	err = fstree.Each(line.ctx, blobs, p, options, q.entry)
	if err == nil {
		err = q.sendFragment()
	}
	if endErr := line.end(); endErr != nil {
		err = endErr // the first one: what the walk then met is that it was stopped
	}
	if err != nil {
		return nil, err
	}
	out := &Compressed{}
	if out.Blocks, out.BlocksSize, err = blocks.Commit(); err != nil {
		return nil, err
	}
	out.Table, out.TableSize, err = records.Commit()
	return out, err
}

// place is where in which fragment block a file is.
type place struct{ fragment, offset uint32 }

// compressor cuts files into blocks and packs small ones into fragment blocks.
type compressor struct {
	*pipeline
	bodies    *fstree.Bodies
	packed    map[contentKey]place
	fragments uint32 // how many fragment blocks are full
	fragment  *job   // the one being packed; nil for none
}

func (q *compressor) entry(number int, e *tree.Entry) error {
	if e.Type != tar.TypeReg || e.Body.Size == 0 {
		return nil
	}
	f := &file{entry: int32(number)}
	if e.Body.Size < blockSize {
		return q.small(f, e.Name, e.Body)
	}
	for off := int64(0); off < e.Body.Size; off += blockSize {
		j, err := q.take()
		if err != nil {
			return err
		}
		j.in = j.in[:min(blockSize, e.Body.Size-off)]
		if err := q.bodies.ReadAt(e.Body, j.in, off); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		j.kind, j.file, j.last = blockJob, f, off+blockSize >= e.Body.Size
		q.send(j)
	}
	return nil
}

// small packs a file that is smaller than a block.
func (q *compressor) small(f *file, name string, b tree.Body) error {
	j, err := q.take()
	if err != nil {
		return err
	}
	j.in = j.in[:b.Size]
	if err := q.bodies.ReadAt(b, j.in, 0); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	j.kind, j.file, j.last = recordJob, f, true
	if isZeros(j.in) {
		j.kind = blockJob
		q.send(j)
		return nil
	}
	f.key = sha256.Sum256(append(j.in, keyOfSmall)) // take leaves room
	at, known := q.packed[f.key]
	if !known {
		if at, err = q.pack(j.in); err != nil {
			return err
		}
		q.packed[f.key] = at
	}
	f.fragment, f.offset = at.fragment, at.offset
	q.send(j)
	return nil
}

// pack puts contents into a fragment block.
func (q *compressor) pack(contents []byte) (place, error) {
	if q.fragment != nil && len(q.fragment.in)+len(contents) > blockSize {
		if err := q.sendFragment(); err != nil {
			return place{}, err
		}
	}
	if q.fragment == nil {
		j, err := q.take()
		if err != nil {
			return place{}, err
		}
		j.kind, j.in = fragmentJob, j.in[:0]
		q.fragment = j
	}
	at := place{q.fragments, uint32(len(q.fragment.in))}
	q.fragment.in = append(q.fragment.in, contents...)
	return at, nil
}

func (q *compressor) sendFragment() error {
	if q.fragment == nil {
		return nil
	}
	q.send(q.fragment)
	q.fragment = nil
	q.fragments++
	return q.ctx.Err()
}

var zeros [blockSize]byte

func isZeros(p []byte) bool { return bytes.Equal(p, zeros[:len(p)]) }
