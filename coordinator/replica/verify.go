package replica

import (
	"context"
	"sync"

	"github.com/hashicorp/raft"
)

// Verifier asks raft whether this coordinator still leads, once for all who ask while it is being asked: each gets
// an answer to a question that was put after it came.
type Verifier struct {
	Ask func() raft.Future

	mu      sync.Mutex // guards what follows
	next    *verdict   // of the question that is not put yet
	running bool
}

type verdict struct {
	done chan struct{}
	err  error // set before done is closed
}

// Wait returns nil when this coordinator led at some time after the call.
func (v *Verifier) Wait(ctx context.Context) error {
	v.mu.Lock()
	if v.next == nil {
		v.next = &verdict{done: make(chan struct{})}
	}
	mine := v.next
	if !v.running {
		v.running = true
		go v.run()
	}
	v.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run puts questions while somebody waits for an answer. Raft answers each, by its end if not before.
func (v *Verifier) run() {
	for {
		v.mu.Lock()
		now := v.next
		v.next = nil
		if now == nil {
			v.running = false
			v.mu.Unlock()
			return
		}
		v.mu.Unlock()
		now.err = v.Ask().Error()
		close(now.done)
	}
}
