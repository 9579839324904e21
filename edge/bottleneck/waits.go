package bottleneck

import (
	"sync"
	"time"
)

// Waits adds up for how long things waited, those that still wait included. Its zero value is ready.
type Waits struct {
	mu    sync.Mutex
	now   int
	total time.Duration // of those that have ended, less when each of the others began
}

// Begin notes that something waits from a time on; what it returns ends that.
func (w *Waits) Begin(at time.Duration) (end func(at time.Duration)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now++
	w.total -= at
	return func(at time.Duration) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now--
		w.total += at
	}
}

// Total is how long all waited together up to a time, and how many still wait.
func (w *Waits) Total(at time.Duration) (total time.Duration, now int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total + time.Duration(w.now)*at, w.now
}
