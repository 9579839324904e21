package dhcp

import (
	"context"
	"sync"
	"time"
)

// lazyDeadline is a context with a deadline that costs a timer only when somebody waits for its end: few packets do, and there
// are thousands a second.
type lazyDeadline struct {
	context.Context
	at time.Time

	mu     sync.Mutex // guards what follows
	ended  bool
	waited context.Context // nil: nobody waits
	cancel context.CancelFunc
}

func withLazyDeadline(parent context.Context, at time.Time) *lazyDeadline {
	return &lazyDeadline{Context: parent, at: at}
}

func (l *lazyDeadline) Deadline() (time.Time, bool) {
	if at, ok := l.Context.Deadline(); ok && at.Before(l.at) {
		return at, true
	}
	return l.at, true
}

// started is the context that is waited for.
func (l *lazyDeadline) started() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waited == nil {
		l.waited, l.cancel = context.WithDeadline(l.Context, l.at)
		if l.ended {
			l.cancel()
		}
	}
	return l.waited
}

func (l *lazyDeadline) Done() <-chan struct{} { return l.started().Done() }

func (l *lazyDeadline) Err() error { return l.started().Err() }

// end is what a CancelFunc is.
func (l *lazyDeadline) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.cancel != nil {
		l.cancel()
	}
}
