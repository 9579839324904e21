package flat

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/tree"
)

// spool keeps the headers of all layers on disk: a tree index for each layer, whiteouts included. A body is in the data
// when it has no blob, else still in the layer of that digest.
type spool struct {
	ctx    context.Context
	file   *os.File
	size   int64
	layers []section
	index  *tree.Writer // of the layer that is added to
}

// section is where a layer's index is in the file.
type section struct {
	from, to int64
	count    uint32 // entries
	passed   bool   // some of their bodies are still in the layer
}

func newSpool(ctx context.Context, blobs cache.Blobs, layers int) (*spool, error) {
	file, err := blobs.Scratch(ctx)
	if err != nil {
		return nil, err
	}
	return &spool{ctx: ctx, file: file, layers: make([]section, layers)}, nil
}

func (s *spool) close() { _ = s.file.Close() }

// Write appends to the file.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	s.size += int64(n)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

func (s *spool) begin(layer int) {
	s.layers[layer].from = s.size
	s.index = tree.NewWriter(s)
}

func (s *spool) add(layer int, e *tree.Entry) error {
	at := &s.layers[layer]
	at.count++
	at.passed = at.passed || !e.Body.Blob.IsZero()
	return s.index.Append(e)
}

func (s *spool) end(layer int) error {
	err := s.index.Close()
	s.layers[layer].to = s.size
	return err
}

// each calls f for every entry of a layer, in order.
func (s *spool) each(layer int, f func(i id, e *tree.Entry) error) error {
	at := s.layers[layer]
	r, err := tree.NewReader(io.NewSectionReader(s.file, at.from, at.to-at.from))
	if err != nil {
		return fmt.Errorf("read the headers of a layer: %w", err)
	}
	for number := uint32(1); ; number++ {
		if number%256 == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		e, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the headers of a layer: %w", err)
		}
		if err := f(idOf(layer, number), e); err != nil {
			return err
		}
	}
}
