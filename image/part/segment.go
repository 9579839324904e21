package part

import (
	"archive/tar"
	"context"
	"fmt"
	"io"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// inlineBody is the size up to which a body is copied next to its header: fewer extents, fewer reads.
const inlineBody = 64 << 10

const tarBlock = 512

// Segment writes the part as a run of tar entries: headers and small bodies into a new blob, large bodies as extents
// of the blobs where they are. There is no end-of-archive mark.
func Segment(ctx context.Context, blobs cache.Blobs, params step.SegmentParams, trees []cache.Digest) (*artifact.Artifact, error) {
	heads, err := blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer heads.Abort()
	s := &segment{heads: heads, open: newFiles(ctx, blobs), buf: make([]byte, inlineBody)}
	defer s.open.close()
	if params.Source != "" {
		s.records = map[string]string{tree.RecordSource: params.Source, tree.RecordLocation: params.Location}
	}
	if err := Walk(ctx, blobs, params.Root, trees, s.entry); err != nil {
		return nil, err
	}
	digest, _, err := heads.Commit()
	if err != nil {
		return nil, fmt.Errorf("store the segment's headers: %w", err)
	}
	for i := range s.out.Extents {
		if s.out.Extents[i].Blob.IsZero() {
			s.out.Extents[i].Blob = digest
		}
	}
	return &s.out, nil
}

type segment struct {
	heads   cache.Draft
	at      int64 // bytes written to heads
	open    *files
	records map[string]string
	buf     []byte
	out     artifact.Artifact
}

func (s *segment) entry(e *tree.Entry) error {
	if e.Type != tar.TypeReg {
		e.Body = tree.Body{}
	}
	// A tar.Writer insists on the body that follows its header, so each header has a writer of its own.
	w := tar.NewWriter(s)
	if err := w.WriteHeader(e.Header(s.records)); err != nil {
		return step.Failf("entry %q cannot be written to a tar: %w", e.Name, err)
	}
	if e.Body.Size == 0 {
		return w.Flush() // a global header's records are not padded before
	}
	if e.Body.Inline != nil || e.Body.Size < inlineBody {
		r, err := s.open.body(e.Body)
		if err != nil {
			return err
		}
		if n, err := io.CopyBuffer(s, struct{ io.Reader }{r}, s.buf); err != nil {
			return fmt.Errorf("copy %q: %w", e.Name, err)
		} else if n != e.Body.Size {
			return fmt.Errorf("copy %q: %d of %d bytes", e.Name, n, e.Body.Size)
		}
	} else {
		s.extent(e.Body.Blob, e.Body.Offset, e.Body.Size)
	}
	if rest := e.Body.Size % tarBlock; rest != 0 {
		_, err := s.Write(make([]byte, tarBlock-rest))
		return err
	}
	return nil
}

// Write appends to the heads blob, which is known by the zero digest until it is committed.
func (s *segment) Write(p []byte) (int, error) {
	n, err := s.heads.Write(p)
	s.extent(cache.Digest{}, s.at, int64(n))
	s.at += int64(n)
	return n, err
}

// extent appends a range, joined with the one before where it continues it.
func (s *segment) extent(blob cache.Digest, offset, length int64) {
	s.out.Size += length
	if n := len(s.out.Extents); n > 0 {
		last := &s.out.Extents[n-1]
		if last.Blob == blob && last.Offset+last.Length == offset {
			last.Length += length
			return
		}
	}
	s.out.Extents = append(s.out.Extents, artifact.Extent{Blob: blob, Offset: offset, Length: length})
}
