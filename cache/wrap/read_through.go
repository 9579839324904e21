package wrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/internal/once"
	"github.com/kiln-farm/kiln/internal/retry"
)

// ReadThrough puts a directory in front of a Store that others share. Blobs are fetched into the directory when
// they are first read, verified on their way, each once however many ask; new ones are stored in both before
// their draft counts as committed. Records always come from the shared store, since others change them there.
type ReadThrough struct {
	local  Local
	shared cache.Store
	opts   ReadThroughOptions
	fills  once.Group

	mu      sync.Mutex
	damaged map[cache.Digest]bool // blobs of which shared was seen to have other bytes: a new copy replaces them
}

// Local is a store on the local disk.
type Local interface {
	cache.Store
	cache.Blobs
}

// ReadThroughOptions say what else a ReadThrough does; none need be set.
type ReadThroughOptions struct {
	Upload func(context.Context, *cache.File) error // stores a verified local file in the shared store; nil: Put does
	Strict bool                                     // a blob is missing when the shared store misses it, whatever is here
}

// NewReadThrough puts local in front of shared.
func NewReadThrough(local Local, shared cache.Store, opts ReadThroughOptions) *ReadThrough {
	return &ReadThrough{local: local, shared: shared, opts: opts}
}

// Open implements Blobs.
func (t *ReadThrough) Open(ctx context.Context, d cache.Digest) (*cache.File, error) {
	f, err := t.local.Open(ctx, d)
	if !errors.Is(err, cache.ErrNotFound) || d.IsZero() {
		return f, err
	}
	err = t.fills.Do(ctx, d.Hex(), func(ctx context.Context) error { return t.fill(ctx, d) })
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		if f, small := t.inMemory(ctx, d); small == nil {
			return f, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return t.local.Open(ctx, d)
}

// fill brings the blob into the local directory, unless it is there by now.
func (t *ReadThrough) fill(ctx context.Context, d cache.Digest) error {
	if missing, err := t.local.MissingBlobs(ctx, []cache.Digest{d}); err != nil || len(missing) == 0 {
		return err
	}
	err := doubt.Do(ctx, func(ctx context.Context) error {
		err := t.fetch(ctx, d)
		if !errors.Is(err, cache.ErrNotFound) {
			err = retry.Permanent(err)
		}
		return err
	}, nil)
	if errors.Is(err, cache.ErrMismatch) {
		err = t.fetch(ctx, d) // the fault may have been on the way
	}
	if errors.Is(err, cache.ErrMismatch) {
		t.condemn(d)
		err = fmt.Errorf("%w: the shared cache holds other bytes under that digest: %w", cache.ErrNotFound, err)
	}
	return err
}

// fetch fills the local directory with the blob.
func (t *ReadThrough) fetch(ctx context.Context, d cache.Digest) error {
	r, err := t.shared.Get(ctx, cache.BlobKey(d), 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	draft, err := t.local.Create(ctx)
	if err != nil {
		return err
	}
	defer draft.Abort()
	if _, err := draft.ReadFrom(r); err != nil {
		return fmt.Errorf("fetch blob %s: %w", d, err)
	}
	_, err = draft.CommitAs(d)
	return err
}

// Create implements Blobs.
func (t *ReadThrough) Create(ctx context.Context) (cache.Draft, error) {
	draft, err := t.local.Create(ctx)
	if err != nil {
		return nil, err
	}
	return &sharedDraft{draft, t, ctx}, nil
}

// sharedDraft is a local draft that counts as committed when its blob is shared.
type sharedDraft struct {
	cache.Draft
	through *ReadThrough
	ctx     context.Context
}

// Commit implements Draft.
func (s *sharedDraft) Commit() (cache.Digest, int64, error) {
	d, size, err := s.Draft.Commit()
	if err == nil {
		err = s.through.share(s.ctx, d, size)
	}
	if err != nil {
		return cache.Digest{}, 0, err
	}
	return d, size, nil
}

// CommitAs implements Draft.
func (s *sharedDraft) CommitAs(want cache.Digest) (int64, error) {
	size, err := s.Draft.CommitAs(want)
	if err == nil {
		err = s.through.share(s.ctx, want, size)
	}
	if err != nil {
		return 0, err
	}
	return size, nil
}

// share copies a local blob to the shared store.
func (t *ReadThrough) share(ctx context.Context, d cache.Digest, size int64) error {
	f, err := t.local.Open(ctx, d)
	if err != nil {
		return err
	}
	defer f.Close()
	if t.condemned(d) {
		err = t.shared.Put(ctx, cache.BlobKey(d), f.Section(0, f.Size), size, cache.Replace)
	} else if t.opts.Upload != nil {
		var absent []cache.Key
		if absent, err = t.shared.Missing(ctx, []cache.Key{cache.BlobKey(d)}); err == nil && len(absent) > 0 {
			err = t.opts.Upload(ctx, f)
		}
	} else {
		err = t.shared.Put(ctx, cache.BlobKey(d), f, size, cache.IfAbsent)
	}
	if err != nil {
		return fmt.Errorf("share blob %s: %w", d, err)
	}
	t.mu.Lock()
	delete(t.damaged, d)
	t.mu.Unlock()
	return nil
}

// condemn notes that the shared store has other bytes under d. That is this reader's word only: nothing is deleted.
func (t *ReadThrough) condemn(d cache.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.damaged == nil || len(t.damaged) >= maxDamaged {
		t.damaged = map[cache.Digest]bool{}
	}
	t.damaged[d] = true
}

func (t *ReadThrough) condemned(d cache.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.damaged[d]
}

// doubt is how often a blob is asked for that somebody says is there, and the shared store says is not: making it again
// costs far more.
var doubt = retry.Policy{First: 40 * time.Millisecond, Most: 160 * time.Millisecond, Tries: 4}

// maxInMemory is the size, in bytes, up to which a blob is read into memory when the local disk is full.
const maxInMemory = 64 << 20

// maxDamaged bounds how many damaged blobs are remembered.
const maxDamaged = 10_000

// Scratch implements Blobs.
func (t *ReadThrough) Scratch(ctx context.Context) (*os.File, error) { return t.local.Scratch(ctx) }

// MissingBlobs implements Blobs.
func (t *ReadThrough) MissingBlobs(ctx context.Context, digests []cache.Digest) ([]cache.Digest, error) {
	missing := slices.Clone(digests)
	if !t.opts.Strict {
		var err error
		if missing, err = t.local.MissingBlobs(ctx, digests); err != nil || len(missing) == 0 {
			return nil, err
		}
	}
	var keys []cache.Key
	for _, d := range missing {
		if !d.IsZero() {
			keys = append(keys, cache.BlobKey(d))
		}
	}
	gone, err := t.shared.Missing(ctx, keys)
	if err != nil {
		return nil, err
	}
	absent := make(map[cache.Digest]bool, len(gone)+1)
	absent[cache.Digest{}] = true
	for _, key := range gone {
		if d, ok := key.Digest(); ok {
			absent[d] = true
		}
	}
	return slices.DeleteFunc(missing, func(d cache.Digest) bool { return !absent[d] }), nil
}

// Get implements Store.
func (t *ReadThrough) Get(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	d, ok := key.Digest()
	if !ok {
		return t.shared.Get(ctx, key, offset, n)
	}
	if offset < 0 {
		return nil, fmt.Errorf("read %s: negative offset %d", key, offset)
	}
	f, err := t.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	return f.Range(offset, n), nil
}

// Put implements Store.
func (t *ReadThrough) Put(ctx context.Context, key cache.Key, r io.Reader, size int64, mode cache.PutMode) error {
	d, ok := key.Digest()
	if !ok {
		return t.shared.Put(ctx, key, r, size, mode)
	}
	if err := t.local.Put(ctx, key, r, size, mode); err != nil {
		return err
	}
	f, err := t.local.Open(ctx, d)
	if err != nil {
		return err
	}
	size = f.Size
	f.Close()
	return t.share(ctx, d, size)
}

// Missing implements Store. It tells what others would miss, whatever is here.
func (t *ReadThrough) Missing(ctx context.Context, keys []cache.Key) ([]cache.Key, error) {
	return t.shared.Missing(ctx, keys)
}

// List implements Store.
func (t *ReadThrough) List(ctx context.Context, prefix string, f func(cache.Entry) error) error {
	return t.shared.List(ctx, prefix, f)
}

// Delete implements Store. A blob is deleted here, too.
func (t *ReadThrough) Delete(ctx context.Context, key cache.Key) error {
	if _, ok := key.Digest(); ok {
		if err := t.local.Delete(ctx, key); err != nil {
			return err
		}
	}
	return t.shared.Delete(ctx, key)
}
