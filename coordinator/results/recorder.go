package results

import (
	"context"
	"log/slog"
	"sync"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	"google.golang.org/protobuf/proto"
)

// recorder writes records behind the leader's back, in no order.
type recorder struct {
	ctx   context.Context // of writing
	store cache.Store
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	cond    *sync.Cond
	queue   []queued
	closed  bool
	workers sync.WaitGroup
}

type queued struct {
	key   cache.Key
	value proto.Message
}

func newRecorder(ctx context.Context, store cache.Store, log *slog.Logger) *recorder {
	r := &recorder{ctx: ctx, store: store, log: log}
	r.cond = sync.NewCond(&r.mu)
	for range recordWorkers {
		r.workers.Add(1)
		go r.work()
	}
	return r
}

// keep writes value under key unless something is there.
func (r *recorder) keep(key cache.Key, value proto.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
	case len(r.queue) >= recordQueue:
		r.log.Warn("the cache is too slow: a record was dropped and the work behind it will be done again", "key", key.String())
	default:
		r.queue = append(r.queue, queued{key, value})
		r.cond.Signal()
	}
}

// close writes what is in the queue and waits for it, unless the context of writing ends first.
func (r *recorder) close() {
	r.mu.Lock()
	r.closed = true
	r.cond.Broadcast()
	r.mu.Unlock()
	r.workers.Wait()
}

func (r *recorder) work() {
	defer r.workers.Done()
	for {
		next, ok := r.next()
		if !ok {
			return
		}
		if r.ctx.Err() != nil {
			continue // another leader finds in the state what is to be written
		}
		ctx, cancel := context.WithTimeout(r.ctx, recordTimeout)
		if err := record.Keep(ctx, r.store, next.key, next.value); err != nil {
			r.log.Warn("a record was not kept; the work behind it will be done again", "key", next.key.String(), "error", err)
		}
		cancel()
	}
}

func (r *recorder) next() (queued, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) == 0 {
		if r.closed {
			return queued{}, false
		}
		r.cond.Wait()
	}
	next := r.queue[0]
	r.queue = r.queue[1:]
	return next, true
}
