package edge

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
)

const (
	// smallKept is the size, in bytes, up to which a file is kept in memory when it was asked for.
	smallKept = 16 << 10
	keptFiles = 16 << 20 // bytes of all of them
	keptTexts = 8 << 20  // bytes of all descriptions, about
	// keptFor is how long something counts as it was looked up: descriptions are replaced, and blobs are deleted, by others.
	keptFor = time.Minute
)

// content is the bytes of a file, from wherever they come.
type content interface {
	io.ReaderAt
	io.Closer
	Size() int64
	// WriteRange writes n bytes from an offset.
	WriteRange(w io.Writer, offset, n int64) (int64, error)
}

// held is content in memory.
type held []byte

func (h held) Size() int64  { return int64(len(h)) }
func (h held) Close() error { return nil }

// ReadAt implements io.ReaderAt.
func (h held) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= int64(len(h)) {
		return 0, io.EOF
	}
	n := copy(p, h[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteRange implements content.
func (h held) WriteRange(w io.Writer, offset, n int64) (int64, error) {
	m, err := w.Write(h[offset : offset+n])
	return int64(m), err
}

// contentOf is an artifact's bytes, or a blob's.
func (e *Edge) contentOf(ctx context.Context, d cache.Digest) (content, error) {
	if b, ok := e.files.Get(d); ok {
		return b, nil
	}
	for again := false; ; again = true {
		a, fresh, err := e.description(ctx, d)
		var c content
		switch {
		case err == nil:
			c, err = e.open(ctx, a)
		case errors.Is(err, cache.ErrNotFound):
			var whole *artifact.Reader
			if whole, err = artifact.OpenWhole(ctx, e.blobs, d); err == nil {
				c, err = e.keep(whole, d)
			}
		}
		if err == nil && !fresh && c.Size() > 0 {
			if _, err = c.ReadAt(make([]byte, 1), 0); err != nil {
				c.Close()
			}
		}
		if !errors.Is(err, cache.ErrNotFound) || fresh || again {
			return c, err
		}
		e.texts.Forget(d) // what it was made of may be gone, and it may be made of other things now
	}
}

// description is what an artifact is made of; fresh says that it was looked up now. That something is a blob and no artifact is
// remembered as well.
func (e *Edge) description(ctx context.Context, d cache.Digest) (a *artifact.Artifact, fresh bool, err error) {
	if a, ok := e.texts.Get(d); ok {
		if a == nil {
			err = cache.ErrNotFound
		}
		return a, false, err
	}
	a, err = artifact.Get(ctx, e.cfg.Store, d)
	if err == nil || errors.Is(err, cache.ErrNotFound) {
		e.texts.Put(d, a, weigh(a))
	}
	return a, true, err
}

// weigh is about how many bytes of memory a description has.
func weigh(a *artifact.Artifact) int64 {
	n := int64(200)
	if a != nil {
		for _, x := range a.Extents {
			n += 80 + int64(len(x.Inline))
		}
	}
	return n
}

// open opens an artifact. One that is small is read, and kept.
func (e *Edge) open(ctx context.Context, a *artifact.Artifact) (content, error) {
	if b, ok := e.files.Get(a.Digest); ok {
		return b, nil
	}
	reader, err := artifact.Open(ctx, e.blobs, a)
	if err != nil {
		return nil, err
	}
	return e.keep(reader, a.Digest)
}

// keep reads a file that is small, and keeps it; of others it gives the reader.
func (e *Edge) keep(reader *artifact.Reader, d cache.Digest) (content, error) {
	if reader.Size() > smallKept || d.IsZero() {
		return reader, nil
	}
	defer reader.Close()
	b := make(held, reader.Size())
	if _, err := reader.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	e.files.Put(d, b, int64(len(b))+100)
	return b, nil
}
