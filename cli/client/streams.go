package client

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
)

const (
	// openStreams is how many blobs are read at once: an artifact goes back and forth between one with headers
	// and the ones with bodies.
	openStreams = 4
	// shortGap is how many bytes are read and dropped rather than asked for anew: less than a round trip costs.
	shortGap = 256 << 10
)

// streams reads extents over as few requests as there are runs of a blob: a stream that was opened for an extent
// stays open for the next one of its blob.
type streams struct {
	ctx  context.Context
	open func(ctx context.Context, d cache.Digest, offset int64) (io.ReadCloser, error)
	live []*stream // the one used last is last
}

type stream struct {
	blob cache.Digest
	at   int64
	body io.ReadCloser
}

// write writes the bytes of extents to w, in their order.
func (s *streams) write(w io.Writer, extents []artifact.Extent) error {
	for _, e := range extents {
		var err error
		switch {
		case e.Inline != nil:
			_, err = io.Copy(w, bytes.NewReader(e.Inline))
		case e.Blob.IsZero():
			_, err = io.CopyN(w, zeros{}, e.Length)
		default:
			err = s.copy(w, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *streams) copy(w io.Writer, e artifact.Extent) error {
	st, err := s.seek(e.Blob, e.Offset)
	if err != nil {
		return err
	}
	n, err := io.CopyN(w, st.body, e.Length)
	st.at += n
	if err == io.EOF {
		err = fmt.Errorf("blob %s ends after %d bytes: %w", e.Blob, st.at, cache.ErrMismatch)
	}
	return err
}

// seek returns a stream of the blob at offset.
func (s *streams) seek(d cache.Digest, offset int64) (*stream, error) {
	for i, st := range s.live {
		if st.blob != d {
			continue
		}
		s.live = append(s.live[:i], s.live[i+1:]...)
		if gap := offset - st.at; gap >= 0 && gap <= shortGap {
			n, err := io.CopyN(io.Discard, st.body, gap)
			st.at += n
			if err == nil {
				s.live = append(s.live, st)
				return st, nil
			}
		}
		st.body.Close()
		break
	}
	body, err := s.open(s.ctx, d, offset)
	if err != nil {
		return nil, err
	}
	if len(s.live) == openStreams {
		s.live[0].body.Close()
		s.live = s.live[1:]
	}
	st := &stream{d, offset, body}
	s.live = append(s.live, st)
	return st, nil
}

func (s *streams) close() {
	for _, st := range s.live {
		st.body.Close()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
