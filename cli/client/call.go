package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// Waits between two tries.
const (
	firstDelay = 50 * time.Millisecond
	maxDelay   = 2 * time.Second
)

// call repeats what a change of leader or the death of a coordinator may have spoiled. A farm that nobody ever heard
// of is not waited for.
func (f *Farm) call(ctx context.Context, what string, do func() error) error {
	wait := backoff{most: f.patience}
	for {
		err := do()
		if err == nil || answered(err) {
			f.heard.Store(true)
		}
		if err == nil {
			return nil
		}
		if !f.passing(err) || !wait.sleep(ctx) {
			return f.explain(what, err)
		}
		f.elsewhere()
	}
}

// passing says that a call that failed with err is worth another try.
func (f *Farm) passing(err error) bool {
	return f.heard.Load() && again(err) && f.credentials(err) == nil
}

// elsewhere makes the next call go to another coordinator.
func (f *Farm) elsewhere() {
	if f.dialer != nil {
		f.dialer.other()
	}
}

// backoff waits longer each time, with jitter, and gives up when its patience ends.
type backoff struct {
	most  time.Duration
	tries int
	since time.Time
}

func (b *backoff) sleep(ctx context.Context) bool {
	if b.tries == 0 {
		b.since = time.Now()
	}
	if time.Since(b.since) > b.most {
		return false
	}
	delay := min(firstDelay<<min(b.tries, 10), maxDelay)
	b.tries++
	timer := time.NewTimer(delay/2 + rand.N(delay/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
