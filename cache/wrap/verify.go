package wrap

import (
	"context"
	"fmt"
	"io"

	"github.com/kiln-farm/kiln/cache"
)

// Verifying wraps a Store that cannot vouch for its bytes: one beyond a network, or shared with others. Every blob
// that goes in or comes out is hashed while it streams, and a wrong one ends in ErrMismatch instead of EOF. Put it
// directly around the backend; a Dir verifies by itself. Records are left to the backend.
type Verifying struct{ cache.Store }

// NewVerifying wraps s.
func NewVerifying(s cache.Store) Verifying { return Verifying{s} }

// Get implements Store. A part of a blob can only be verified with the rest of it, which is read as well: put a
// ReadThrough in front where parts are read.
func (v Verifying) Get(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	digest, ok := key.Digest()
	if !ok {
		return v.Store.Get(ctx, key, offset, n)
	}
	if offset < 0 {
		return nil, fmt.Errorf("read %s: negative offset %d", key, offset)
	}
	r, err := v.Store.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	checked := cache.VerifyReader(r, digest)
	if offset == 0 && n < 0 {
		return &checkedBlob{checked, r}, nil
	}
	return &checkedBlob{&window{r: checked, skip: offset, left: n}, r}, nil
}

// Put implements Store.
func (v Verifying) Put(ctx context.Context, key cache.Key, r io.Reader, size int64, mode cache.PutMode) error {
	if digest, ok := key.Digest(); ok {
		if size >= 0 {
			r = io.LimitReader(r, size)
		}
		r = cache.VerifyReader(r, digest)
	}
	return v.Store.Put(ctx, key, r, size, mode)
}

type checkedBlob struct {
	io.Reader
	io.Closer
}

// window gives left bytes (left < 0: all) of r after the first skip, and then reads r to its end.
type window struct {
	r          io.Reader
	skip, left int64
}

func (w *window) Read(p []byte) (int, error) {
	if w.skip > 0 {
		n, err := io.CopyN(io.Discard, w.r, w.skip)
		w.skip -= n
		if err != nil {
			return 0, err
		}
	}
	if w.left == 0 {
		if _, err := io.Copy(io.Discard, w.r); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	if w.left > 0 && int64(len(p)) > w.left {
		p = p[:w.left]
	}
	n, err := w.r.Read(p)
	if w.left > 0 {
		w.left -= int64(n)
	}
	return n, err
}
