package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
)

func TestExtentsAreReadOverFewRequests(t *testing.T) {
	heads, bodies := bytes.Repeat([]byte("h"), 4096), bytes.Repeat([]byte("0123456789"), 200000)
	blobs := map[cache.Digest][]byte{cache.SumBytes(heads): heads, cache.SumBytes(bodies): bodies}
	blob := func(b []byte, offset, n int64) artifact.Extent {
		return artifact.Extent{Blob: cache.SumBytes(b), Offset: offset, Length: n}
	}
	for _, c := range []struct {
		name     string
		extents  []artifact.Extent
		requests int
	}{
		{"headers and bodies in turn", []artifact.Extent{blob(heads, 0, 512), blob(bodies, 0, 1000), blob(heads, 512, 512), blob(bodies, 1000, 50)}, 2},
		{"a short gap is read over", []artifact.Extent{blob(bodies, 0, 10), blob(bodies, 1000, 10)}, 1},
		{"a long gap is asked for anew", []artifact.Extent{blob(bodies, 0, 10), blob(bodies, 1500000, 10)}, 2},
		{"going back is asked for anew", []artifact.Extent{blob(bodies, 1000, 10), blob(bodies, 0, 10)}, 2},
		{"inline bytes and zeros need no request", []artifact.Extent{{Inline: []byte("abc"), Length: 3}, {Length: 100000}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			requests, open := 0, 0
			s := &streams{ctx: t.Context(), open: func(_ context.Context, d cache.Digest, offset int64) (io.ReadCloser, error) {
				requests++
				open++
				return &closer{bytes.NewReader(blobs[d][offset:]), &open}, nil
			}}
			var got, want bytes.Buffer
			if err := s.write(&got, c.extents); err != nil {
				t.Fatal(err)
			}
			s.close()
			for _, e := range c.extents {
				switch {
				case e.Inline != nil:
					want.Write(e.Inline)
				case e.Blob.IsZero():
					want.Write(make([]byte, e.Length))
				default:
					want.Write(blobs[e.Blob][e.Offset : e.Offset+e.Length])
				}
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Error("the bytes differ")
			}
			if requests != c.requests {
				t.Errorf("%d requests, want %d", requests, c.requests)
			}
			if open != 0 {
				t.Errorf("%d streams were left open", open)
			}
		})
	}
}

func TestABlobThatEndsEarlyIsAMismatch(t *testing.T) {
	s := &streams{ctx: t.Context(), open: func(context.Context, cache.Digest, int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte("short"))), nil
	}}
	err := s.write(io.Discard, []artifact.Extent{{Blob: cache.SumBytes(nil), Length: 100}})
	if !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("error %v, want %v", err, cache.ErrMismatch)
	}
}

type closer struct {
	io.Reader
	open *int
}

func (c *closer) Close() error {
	*c.open--
	return nil
}
