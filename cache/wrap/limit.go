package wrap

import (
	"context"
	"io"
	"sync"

	"github.com/kiln-farm/kiln/cache"
	"golang.org/x/sync/semaphore"
)

// Limited wraps a Store that many callers at once would overload, such as one beyond a network: at most so many
// operations run at a time and the rest wait. A Get counts until its reader is closed. Put it outside of Verifying.
type Limited struct {
	inner cache.Store
	slots *semaphore.Weighted
}

// NewLimited wraps s, for at most n operations at a time.
func NewLimited(s cache.Store, n int64) *Limited {
	return &Limited{inner: s, slots: semaphore.NewWeighted(max(n, 1))}
}

// Get implements Store.
func (l *Limited) Get(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	if err := l.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	r, err := l.inner.Get(ctx, key, offset, n)
	if err != nil {
		l.slots.Release(1)
		return nil, err
	}
	return &onClose{ReadCloser: r, then: func() { l.slots.Release(1) }}, nil
}

// Put implements Store.
func (l *Limited) Put(ctx context.Context, key cache.Key, r io.Reader, size int64, mode cache.PutMode) error {
	return l.run(ctx, func() error { return l.inner.Put(ctx, key, r, size, mode) })
}

// Missing implements Store.
func (l *Limited) Missing(ctx context.Context, keys []cache.Key) (missing []cache.Key, err error) {
	err = l.run(ctx, func() error {
		missing, err = l.inner.Missing(ctx, keys)
		return err
	})
	return missing, err
}

// List implements Store. It takes no slot: f may use the store.
func (l *Limited) List(ctx context.Context, prefix string, f func(cache.Entry) error) error {
	return l.inner.List(ctx, prefix, f)
}

// Delete implements Store.
func (l *Limited) Delete(ctx context.Context, key cache.Key) error {
	return l.run(ctx, func() error { return l.inner.Delete(ctx, key) })
}

func (l *Limited) run(ctx context.Context, op func() error) error {
	if err := l.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	defer l.slots.Release(1)
	return op()
}

// onClose does something more, once, when its reader is closed.
type onClose struct {
	io.ReadCloser
	once sync.Once
	then func()
}

func (c *onClose) Close() error {
	defer c.once.Do(c.then)
	return c.ReadCloser.Close()
}
