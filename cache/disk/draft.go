package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/kiln-farm/kiln/cache"
)

const (
	// draftBuffer is what a draft gathers before it hashes and writes: the size at which both run at full speed.
	draftBuffer = 256 << 10
	blobMode    = 0o444
)

// draft implements Draft: bytes are hashed and written to a temporary file in one pass.
type draft struct {
	ctx  context.Context
	dir  *Store
	file *os.File
	hash hash.Hash
	buf  *[]byte
	used int   // bytes in buf
	size int64 // bytes written so far, those in buf included
	err  error // the first fault: nothing is kept after it
	done bool

	emitted int64 // bytes that went to file
	open    bool  // the last of them are a hole, and the file ends before it
}

var errDraftDone = errors.New("the draft is committed or aborted")

// Create implements Blobs.
func (d *Store) Create(ctx context.Context) (cache.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.temp()
	if err != nil {
		return nil, err
	}
	return &draft{ctx: ctx, dir: d, file: f, hash: sha256.New(), buf: d.buffers.Get().(*[]byte)}, nil
}

// Size implements Draft.
func (w *draft) Size() int64 { return w.size }

// Write implements io.Writer.
func (w *draft) Write(p []byte) (int, error) {
	if err := w.usable(); err != nil {
		return 0, err
	}
	written := len(p)
	for len(p) > 0 {
		if w.used == 0 && len(p) >= draftBuffer {
			if err := w.emit(p[:draftBuffer]); err != nil {
				return written - len(p), err
			}
			p = p[draftBuffer:]
			w.size += draftBuffer
			continue
		}
		n := copy((*w.buf)[w.used:], p)
		p = p[n:]
		w.used += n
		w.size += int64(n)
		if w.used == draftBuffer {
			if err := w.flush(); err != nil {
				return written - len(p), err
			}
		}
	}
	return written, nil
}

// ReadFrom implements io.ReaderFrom: r is read straight into the draft's buffer.
func (w *draft) ReadFrom(r io.Reader) (total int64, err error) {
	for {
		if err := w.usable(); err != nil {
			return total, err
		}
		n, err := r.Read((*w.buf)[w.used:])
		w.used += n
		w.size += int64(n)
		total += int64(n)
		if w.used == draftBuffer {
			if err := w.flush(); err != nil {
				return total, err
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// Commit implements Draft.
func (w *draft) Commit() (cache.Digest, int64, error) { return w.commit(cache.Digest{}) }

// CommitAs implements Draft.
func (w *draft) CommitAs(want cache.Digest) (int64, error) {
	if want.IsZero() {
		w.Abort()
		return 0, fmt.Errorf("store a blob as no digest: %w", cache.ErrMismatch)
	}
	_, size, err := w.commit(want)
	return size, err
}

// Abort implements Draft.
func (w *draft) Abort() {
	if w.done {
		return
	}
	w.done = true
	w.dir.buffers.Put(w.buf)
	w.buf = nil
	w.dir.discard(w.file)
}

func (w *draft) commit(want cache.Digest) (cache.Digest, int64, error) {
	if err := w.usable(); err != nil {
		w.Abort()
		return cache.Digest{}, 0, err
	}
	defer w.Abort()
	if err := w.flush(); err != nil {
		return cache.Digest{}, 0, err
	}
	digest := cache.FromSum([sha256.Size]byte(w.hash.Sum(nil)))
	if !want.IsZero() && want != digest {
		return cache.Digest{}, 0, fmt.Errorf("%w: expected %s, got %s (%d bytes)", cache.ErrMismatch, want, digest, w.size)
	}
	if w.open {
		if err := w.file.Truncate(w.size); err != nil {
			return cache.Digest{}, 0, w.dir.writeError("write a blob", err)
		}
	}
	if err := w.dir.adopt(w.file, digest); err != nil {
		return cache.Digest{}, 0, w.dir.writeError("store blob "+digest.String(), err)
	}
	return digest, w.size, nil
}

func (w *draft) usable() error {
	if w.done {
		return errDraftDone
	}
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	return w.err
}

func (w *draft) flush() error {
	err := w.emit((*w.buf)[:w.used])
	w.used = 0
	return err
}

func (w *draft) emit(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	w.hash.Write(p)
	open, err := writeSparse(w.file, p, w.emitted)
	if err != nil {
		w.err = w.dir.writeError("write a blob", err)
	}
	w.emitted += int64(len(p))
	w.open = open
	return w.err
}

// adopt gives the finished temporary file f its blob's name, unless the blob is there already.
func (d *Store) adopt(f *os.File, digest cache.Digest) error {
	if old, err := os.Open(d.blobFile(digest)); err == nil {
		id, err := identify(old)
		good := err == nil && d.stamped(old, digest, id)
		if good {
			d.touch(old, digest, id)
		}
		old.Close()
		if good {
			return nil
		}
	}
	id, err := identify(f)
	if err != nil {
		return err
	}
	if err := f.Chmod(blobMode); err != nil {
		return err
	}
	d.stamp(f, digest, id)
	return place(os.Rename, f.Name(), d.blobFile(digest))
}
