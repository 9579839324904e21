package content

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/internal/recent"
)

const (
	// smallKept is the size, in bytes, up to which a file is kept in memory when it was asked for.
	smallKept = 16 << 10
	keptFiles = 16 << 20 // bytes of all of them
	keptTexts = 8 << 20  // bytes of all descriptions, about
	// keptFor is how long something counts as it was looked up: descriptions are replaced, and blobs are deleted, by others.
	keptFor = time.Minute
)

// Files are what an edge reads of its cache. Small files, and what others are made of, are kept in memory for a while.
type Files struct {
	store cache.Store
	blobs cache.Blobs // as machines ask for them
	here  cache.Blobs // the same, for who waits for nobody
	waits waits
	texts *recent.Memory[cache.Digest, *artifact.Artifact] // nil: there is no such artifact
	plans *recent.Memory[string, *artifact.Artifact]       // of releases' files
	files *recent.Memory[cache.Digest, held]
}

// New makes Files of a cache: store has the records of builds and artifacts.
func New(store cache.Store, blobs cache.Blobs) *Files {
	f := &Files{store: store, here: blobs, waits: waits{begun: time.Now()}}
	f.blobs = watchedBlobs{blobs, &f.waits}
	f.texts = recent.New[cache.Digest, *artifact.Artifact](keptTexts, keptFor, time.Now)
	f.plans = recent.New[string, *artifact.Artifact](keptTexts, keptFor, time.Now)
	f.files = recent.New[cache.Digest, held](keptFiles, keptFor, time.Now)
	return f
}

// File is the bytes of a file, from wherever they come.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64
	// WriteRange writes n bytes from an offset.
	WriteRange(w io.Writer, offset, n int64) (int64, error)
}

// held is a File in memory.
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

// WriteRange implements File.
func (h held) WriteRange(w io.Writer, offset, n int64) (int64, error) {
	m, err := w.Write(h[offset : offset+n])
	return int64(m), err
}

// Open opens an artifact, or a blob.
func (f *Files) Open(ctx context.Context, d cache.Digest) (File, error) {
	if b, ok := f.files.Get(d); ok {
		return b, nil
	}
	for again := false; ; again = true {
		a, fresh, err := f.Describe(ctx, d)
		var c File
		switch {
		case err == nil:
			c, err = f.OpenArtifact(ctx, a)
		case errors.Is(err, cache.ErrNotFound):
			var whole *artifact.Reader
			if whole, err = artifact.OpenWhole(ctx, f.blobs, d); err == nil {
				c, err = f.keep(whole, d)
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
		f.texts.Forget(d) // what it was made of may be gone, and it may be made of other things now
	}
}

// Describe says what an artifact is made of; fresh says that it was looked up now. That something is a blob and no artifact is
// remembered as well.
func (f *Files) Describe(ctx context.Context, d cache.Digest) (a *artifact.Artifact, fresh bool, err error) {
	if a, ok := f.texts.Get(d); ok {
		if a == nil {
			err = cache.ErrNotFound
		}
		return a, false, err
	}
	a, err = artifact.Get(ctx, f.store, d)
	if err == nil || errors.Is(err, cache.ErrNotFound) {
		f.texts.Put(d, a, weigh(a))
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

// OpenArtifact opens an artifact. One that is small is read, and kept.
func (f *Files) OpenArtifact(ctx context.Context, a *artifact.Artifact) (File, error) {
	if b, ok := f.files.Get(a.Digest); ok {
		return b, nil
	}
	reader, err := artifact.Open(ctx, f.blobs, a)
	if err != nil {
		return nil, err
	}
	return f.keep(reader, a.Digest)
}

// keep reads a file that is small, and keeps it; of others it gives the reader.
func (f *Files) keep(reader *artifact.Reader, d cache.Digest) (File, error) {
	if reader.Size() > smallKept || d.IsZero() {
		return reader, nil
	}
	defer reader.Close()
	b := make(held, reader.Size())
	if _, err := reader.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	f.files.Put(d, b, int64(len(b))+100)
	return b, nil
}

// Text is a whole artifact, which is small.
func (f *Files) Text(ctx context.Context, a *artifact.Artifact) (string, error) {
	reader, err := artifact.Open(ctx, f.blobs, a)
	if err != nil {
		return "", err
	}
	defer reader.Close()
	var b strings.Builder
	_, err = reader.WriteTo(&b)
	return b.String(), err
}
