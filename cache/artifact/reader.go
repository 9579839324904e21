package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"

	"github.com/kiln-farm/kiln/cache"
)

const (
	// idleFiles is how many blobs an ArtifactReader keeps open between reads.
	idleFiles = 8
	// smallCopy is the length below which bytes go through a buffer: the kernel's own copying pays off above it.
	smallCopy  = 32 << 10
	copyBuffer = 64 << 10
)

// Reader reads an artifact as if it were one file. Blobs are opened when they are first needed, and few
// are kept open. It may be used by many goroutines. Close it.
type Reader struct {
	ctx      context.Context
	blobs    cache.Blobs
	artifact *Artifact
	starts   []int64 // of each extent, in the artifact

	mu     sync.Mutex
	idle   []*cache.File // least recently used first
	closed bool
}

var errReaderClosed = errors.New("the artifact is closed")

// Open checks a's extents and returns a reader of them. ctx is for all reads.
func Open(ctx context.Context, blobs cache.Blobs, a *Artifact) (*Reader, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	r := &Reader{ctx: ctx, blobs: blobs, artifact: a, starts: make([]int64, len(a.Extents))}
	var at int64
	for i, e := range a.Extents {
		r.starts[i] = at
		at += e.Length
	}
	return r, nil
}

// OpenWhole opens a blob as an artifact that is this blob.
func OpenWhole(ctx context.Context, blobs cache.Blobs, d cache.Digest) (*Reader, error) {
	f, err := blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	r, err := Open(ctx, blobs, &Artifact{Digest: d, Size: f.Size, Extents: []Extent{{Blob: d, Length: f.Size}}})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.give(f) // so that it is not opened again
	return r, nil
}

// Size is the artifact's, in bytes.
func (r *Reader) Size() int64 { return r.artifact.Size }

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read an artifact: negative offset %d", off)
	}
	n := 0
	for i := r.find(off); i < len(r.starts) && n < len(p); i++ {
		e := r.artifact.Extents[i]
		skip := off + int64(n) - r.starts[i]
		part := p[n:min(int64(len(p)), int64(n)+e.Length-skip)]
		if err := r.readExtent(part, e, skip); err != nil {
			return n, err
		}
		n += len(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteTo implements io.WriterTo.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	return r.WriteRange(w, 0, r.artifact.Size)
}

// WriteRange writes n bytes from off to w, or what there is of them. Where w can read from a file by itself, as
// *os.File and *net.TCPConn can, the kernel moves the bytes.
func (r *Reader) WriteRange(w io.Writer, off, n int64) (written int64, err error) {
	if off < 0 || n < 0 {
		return 0, fmt.Errorf("read an artifact: negative offset %d or length %d", off, n)
	}
	var buf []byte
	for i := r.find(off); i < len(r.starts) && written < n; i++ {
		e := r.artifact.Extents[i]
		skip := off + written - r.starts[i]
		length := min(e.Length-skip, n-written)
		if length == 0 {
			continue
		}
		var copied int64
		to, direct := w.(io.ReaderFrom)
		switch {
		case e.Inline != nil:
			var m int
			m, err = w.Write(e.Inline[skip : skip+length])
			copied = int64(m)
		case direct && length >= smallCopy && !e.Blob.IsZero():
			copied, err = r.sendExtent(to, e, skip, length)
		default:
			if buf == nil {
				buf = make([]byte, min(copyBuffer, n-written)) // many ask for small files
			}
			copied, err = r.copyExtent(w, e, skip, length, buf)
		}
		written += copied
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Close closes what is open.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	var errs []error
	for _, f := range r.idle {
		errs = append(errs, f.Close())
	}
	r.idle = nil
	return errors.Join(errs...)
}

// find returns the first extent that ends after off.
func (r *Reader) find(off int64) int {
	return sort.Search(len(r.starts), func(i int) bool { return off-r.starts[i] < r.artifact.Extents[i].Length })
}

// readExtent fills p with the extent's bytes from skip.
func (r *Reader) readExtent(p []byte, e Extent, skip int64) error {
	switch {
	case e.Inline != nil:
		copy(p, e.Inline[skip:])
		return nil
	case e.Blob.IsZero():
		clear(p)
		return nil
	}
	return r.with(e, func(f *cache.File) error {
		_, err := f.ReadAt(p, e.Offset+skip)
		return err
	})
}

// copyExtent writes length bytes of the extent through buf.
func (r *Reader) copyExtent(w io.Writer, e Extent, skip, length int64, buf []byte) (written int64, err error) {
	for written < length {
		p := buf[:min(int64(len(buf)), length-written)]
		if err := r.readExtent(p, e, skip+written); err != nil {
			return written, err
		}
		n, err := w.Write(p)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// sendExtent has the kernel copy length bytes of the extent's file to w.
func (r *Reader) sendExtent(w io.ReaderFrom, e Extent, skip, length int64) (written int64, err error) {
	err = r.with(e, func(f *cache.File) error {
		if _, err := f.Seek(e.Offset+skip, io.SeekStart); err != nil {
			return err
		}
		// The writers look for an *os.File, not for what embeds one.
		var file *os.File = f.File
		written, err = w.ReadFrom(&io.LimitedReader{R: file, N: length})
		if err == nil && written < length {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	return written, err
}

// with calls use with the extent's blob, which is nobody else's meanwhile.
func (r *Reader) with(e Extent, use func(*cache.File) error) error {
	f, err := r.take(e.Blob)
	if err != nil {
		return err
	}
	defer r.give(f)
	if f.Size < e.Offset || f.Size-e.Offset < e.Length {
		return fmt.Errorf("artifact needs bytes %d to %d of blob %s, which has %d", e.Offset, e.Offset+e.Length, e.Blob, f.Size)
	}
	if err := use(f); err != nil {
		return fmt.Errorf("copy from blob %s: %w", e.Blob, err)
	}
	return nil
}

func (r *Reader) take(d cache.Digest) (*cache.File, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, errReaderClosed
	}
	for i, f := range r.idle {
		if f.Digest == d {
			r.idle = append(r.idle[:i], r.idle[i+1:]...)
			r.mu.Unlock()
			return f, nil
		}
	}
	r.mu.Unlock()
	f, err := r.blobs.Open(r.ctx, d)
	if errors.Is(err, cache.ErrNotFound) {
		err = &cache.AbsentError{Digest: d, Err: err}
	}
	return f, err
}

func (r *Reader) give(f *cache.File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle = append(r.idle, f)
	if r.closed || len(r.idle) > idleFiles {
		oldest := r.idle[0]
		r.idle = r.idle[1:]
		_ = oldest.Close() // opened for reading: nothing can be lost
	}
}
