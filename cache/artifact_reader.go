package cache

import (
	"context"
	"fmt"
	"io"
	"sort"
	"sync"
)

// ArtifactReader reads an artifact as one file. Blobs are opened when they are first read; Close closes them.
type ArtifactReader struct {
	ctx      context.Context
	blobs    Blobs
	artifact *Artifact
	starts   []int64 // of each extent

	mu   sync.Mutex
	open map[Digest]*File
}

// OpenArtifact makes a reader of a. It opens nothing yet.
func OpenArtifact(ctx context.Context, blobs Blobs, a *Artifact) (*ArtifactReader, error) {
	r := &ArtifactReader{ctx: ctx, blobs: blobs, artifact: a, open: map[Digest]*File{}}
	var at int64
	for i, e := range a.Extents {
		if e.Length < 0 || e.Offset < 0 || e.Inline != nil && int64(len(e.Inline)) != e.Length {
			return nil, fmt.Errorf("%w: extent %d", ErrArtifact, i)
		}
		r.starts = append(r.starts, at)
		at += e.Length
	}
	if at != a.Size {
		return nil, fmt.Errorf("%w: %d bytes of extents, size %d", ErrArtifact, at, a.Size)
	}
	return r, nil
}

// Size is the artifact's size in bytes.
func (r *ArtifactReader) Size() int64 { return r.artifact.Size }

// Close closes the blobs.
func (r *ArtifactReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.open {
		f.Close()
	}
	clear(r.open)
	return nil
}

// WriteTo implements io.WriterTo.
func (r *ArtifactReader) WriteTo(w io.Writer) (int64, error) { return r.WriteRange(w, 0, r.Size()) }

// ReadAt implements io.ReaderAt.
func (r *ArtifactReader) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= r.Size() {
		return 0, io.EOF
	}
	want := min(int64(len(p)), r.Size()-offset)
	b := &sliceWriter{p: p[:want]}
	_, err := r.WriteRange(b, offset, want)
	if err == nil && b.n < len(p) {
		err = io.EOF
	}
	return b.n, err
}

type sliceWriter struct {
	p []byte
	n int
}

func (s *sliceWriter) Write(p []byte) (int, error) {
	n := copy(s.p[s.n:], p)
	s.n += n
	return n, nil
}

// WriteRange writes n bytes from offset to w. Bytes of blobs go by w's ReadFrom where it has one, so that the system
// copies between files, or from a file to a socket, without passing them through this process.
func (r *ArtifactReader) WriteRange(w io.Writer, offset, n int64) (written int64, err error) {
	first := sort.Search(len(r.starts), func(i int) bool { return r.starts[i] > offset }) - 1
	for i := max(first, 0); i < len(r.starts) && written < n; i++ {
		e := r.artifact.Extents[i]
		skip := max(offset+written-r.starts[i], 0)
		length := min(e.Length-skip, n-written)
		if length <= 0 {
			continue
		}
		m, err := r.extent(w, e, skip, length)
		written += m
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (r *ArtifactReader) extent(w io.Writer, e Extent, skip, length int64) (int64, error) {
	switch {
	case e.Inline != nil:
		n, err := w.Write(e.Inline[skip : skip+length])
		return int64(n), err
	case e.Blob.IsZero():
		return io.CopyN(w, zeros{}, length)
	}
	f, err := r.file(e.Blob)
	if err != nil {
		return 0, err
	}
	if e.Offset+skip+length > f.Size {
		return 0, fmt.Errorf("%w: %d bytes at %d of blob %s, which has %d", ErrArtifact, length, e.Offset+skip, e.Blob, f.Size)
	}
	return copyRange(w, f, e.Offset+skip, length)
}

func (r *ArtifactReader) file(d Digest) (*File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.open[d]; ok {
		return f, nil
	}
	if len(r.open) >= 64 {
		for old, f := range r.open {
			f.Close()
			delete(r.open, old)
		}
	}
	f, err := r.blobs.Open(r.ctx, d)
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", d, err)
	}
	r.open[d] = f
	return f, nil
}

// copyRange copies by file position where w can take it from there. An open file of a reader is used by one copy at
// a time, because the position is shared.
func copyRange(w io.Writer, f *File, offset, length int64) (int64, error) {
	if rf, ok := w.(io.ReaderFrom); ok {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return 0, err
		}
		return rf.ReadFrom(io.LimitReader(f.File, length))
	}
	buf := make([]byte, 256<<10)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f.Section(offset, length)}, buf)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
