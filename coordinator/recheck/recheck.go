package recheck

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"golang.org/x/sync/singleflight"
)

const (
	recheckTimeout = 10 * time.Minute // for a large blob over a slow way
	recheckKept    = 2 * time.Second  // that an answer counts for those who ask later
)

// Reader reads blobs a second time, each once however many say that it is gone.
type Reader struct {
	Again func(ctx context.Context, d cache.Digest) (gone bool, err error) // nil: whoever says that a blob is gone is believed
	log   *slog.Logger
	ctx   context.Context // of reading
	stop  context.CancelFunc
	tasks sync.WaitGroup
	reads singleflight.Group

	mu   sync.Mutex            // guards what follows
	kept map[cache.Digest]bool // answers of a moment ago
}

func New(again func(ctx context.Context, d cache.Digest) (gone bool, err error), log *slog.Logger) *Reader {
	r := &Reader{Again: again, log: log, kept: map[cache.Digest]bool{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Close ends what is being read and waits for it.
func (r *Reader) Close() {
	r.mu.Lock()
	r.stop()
	r.mu.Unlock()
	r.tasks.Wait()
}

// spawn runs f, unless the reader is closed.
func (r *Reader) spawn(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() == nil {
		r.tasks.Go(f)
	}
}

// Gone says whether a blob of which somebody says that it is gone or damaged is gone: now, if not before.
func (r *Reader) Gone(ctx context.Context, text string) (gone bool, err error) {
	d, err := cache.ParseDigest(text)
	if err != nil || r.Again == nil {
		return true, nil
	}
	answer := make(chan singleflight.Result, 1)
	r.spawn(func() {
		v, err, _ := r.reads.Do(d.Hex(), func() (any, error) { return r.read(d) })
		answer <- singleflight.Result{Val: v, Err: err}
	})
	select {
	case a := <-answer:
		return a.Val == true, a.Err
	case <-ctx.Done():
		return false, ctx.Err()
	case <-r.ctx.Done():
		return false, r.ctx.Err()
	}
}

// read reads a blob, unless that was done a moment ago.
func (r *Reader) read(d cache.Digest) (gone bool, err error) {
	r.mu.Lock()
	gone, ok := r.kept[d]
	r.mu.Unlock()
	if ok {
		return gone, nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, recheckTimeout)
	defer cancel()
	if gone, err = r.Again(ctx, d); err != nil { // who asks next may be luckier
		r.log.Warn("a blob of which somebody says that it is gone could not be looked at", "blob", d.String(), "error", err)
		return gone, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[d] = gone
	time.AfterFunc(recheckKept, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.kept, d)
	})
	return gone, nil
}
