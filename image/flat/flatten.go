package flat

import (
	"context"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/tree"
)

// Flatten unpacks layers (bottom first) into one tree. The bodies of its files become one blob, which is returned with
// its size; no digest when there are none. Emit is called for each entry, in order, once all bodies are stored.
//
// Limits bound what the layers may unpack to. A layer that the cache lacks is a step.MissingBlob; one that is not what it should be a step.Failure that names it.
func Flatten(ctx context.Context, blobs cache.Blobs, layers []cache.Digest, limits Limits, emit func(*tree.Entry) error) (bodies cache.Digest, size int64, err error) {
	data, err := blobs.Create(ctx)
	if err != nil {
		return cache.Digest{}, 0, err
	}
	defer data.Abort()
	f := &flattener{ctx: ctx, blobs: blobs, layers: layers, data: data, meter: meter{limits: limits}, buf: make([]byte, copyBuffer)}
	if f.spool, err = newSpool(ctx, blobs, len(layers)); err != nil {
		return cache.Digest{}, 0, err
	}
	defer f.spool.close()
	if err := f.scan(); err != nil {
		return cache.Digest{}, 0, err
	}
	outcome, err := f.resolve()
	if err != nil {
		return cache.Digest{}, 0, err
	}
	if err := f.fill(outcome); err != nil {
		return cache.Digest{}, 0, err
	}
	if size = data.Size(); size > 0 {
		if bodies, _, err = data.Commit(); err != nil {
			return cache.Digest{}, 0, fmt.Errorf("store the files of an image: %w", err)
		}
	}
	return bodies, size, f.emit(outcome, bodies, emit)
}

type flattener struct {
	ctx    context.Context
	blobs  cache.Blobs
	layers []cache.Digest   // bottom first
	data   cache.Draft      // the bodies
	spool  *spool           // the headers
	filled map[id]tree.Body // bodies that were read late
	meter  meter
	buf    []byte
}

// id numbers the entries of all layers in the order in which unpacking meets them: layers from the bottom, entries as
// they come, the first being number 1 of its layer. 0 is none.
type id uint64

func idOf(layer int, number uint32) id { return id(layer)<<32 | id(number) }

func (i id) layer() int     { return int(i >> 32) }
func (i id) number() uint32 { return uint32(i) }
