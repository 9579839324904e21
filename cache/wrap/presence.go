package wrap

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/cache"
)

// Presence wraps a Store beyond a network and remembers for a while which blobs it was seen to hold, so that a build
// that changes nothing costs no request for each of its blobs. A blob that vanished meanwhile is found missing by
// whoever reads it, and then Forget is called. Put it outside of everything that talks to the backend.
type Presence struct {
	cache.Store
	life time.Duration
	most int

	mu   sync.Mutex // guards what follows
	seen map[cache.Key]time.Time
	old  map[cache.Key]time.Time // seen earlier: half of what is remembered
}

// NewPresence wraps s. At most so many blobs are remembered, each for life.
func NewPresence(s cache.Store, life time.Duration, most int) *Presence {
	return &Presence{Store: s, life: life, most: most, seen: map[cache.Key]time.Time{}}
}

// Get implements Store.
func (p *Presence) Get(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	r, err := p.Store.Get(ctx, key, offset, n)
	if errors.Is(err, cache.ErrNotFound) {
		p.forget(key)
	}
	return r, err
}

// Put implements Store.
func (p *Presence) Put(ctx context.Context, key cache.Key, r io.Reader, size int64, mode cache.PutMode) error {
	if _, blob := key.Digest(); blob && mode == cache.IfAbsent && p.remembers(key) {
		return nil
	}
	err := p.Store.Put(ctx, key, r, size, mode)
	if err == nil {
		p.remember(key)
	}
	return err
}

// Missing implements Store.
func (p *Presence) Missing(ctx context.Context, keys []cache.Key) ([]cache.Key, error) {
	var ask []cache.Key
	for _, key := range keys {
		if !p.remembers(key) {
			ask = append(ask, key)
		}
	}
	if len(ask) == 0 {
		return nil, ctx.Err()
	}
	missing, err := p.Store.Missing(ctx, ask)
	if err != nil {
		return nil, err
	}
	for i := 0; len(ask) > 0; ask = ask[1:] { // missing keeps the order
		if i < len(missing) && missing[i] == ask[0] {
			i++
			continue
		}
		p.remember(ask[0])
	}
	return missing, nil
}

// Delete implements Store.
func (p *Presence) Delete(ctx context.Context, key cache.Key) error {
	p.forget(key)
	return p.Store.Delete(ctx, key)
}

// Forget makes the next question about a blob go to the store.
func (p *Presence) Forget(d cache.Digest) { p.forget(cache.BlobKey(d)) }

func (p *Presence) forget(key cache.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, key)
	delete(p.old, key)
}

func (p *Presence) remembers(key cache.Key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.seen[key]
	if !ok {
		at, ok = p.old[key]
	}
	return ok && time.Since(at) < p.life
}

// remember notes blobs; records change.
func (p *Presence) remember(key cache.Key) {
	if _, blob := key.Digest(); !blob {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) >= p.most/2 {
		p.old, p.seen = p.seen, make(map[cache.Key]time.Time)
	}
	p.seen[key] = time.Now()
}
