package timeline

import (
	"context"
	"log/slog"
	"sync"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	maxHeld    = 10_000 // events that wait to be told
	maxReport  = 1000   // events told at once
	reportWait = 250 * time.Millisecond
	tellWait   = 5 * time.Second
)

// Reporter tells the farm what machines do. What cannot be told now is told later; a boot never waits for it.
type Reporter struct {
	edge string
	send func(ctx context.Context, events []*kilnv1.BootEvent) error
	log  *slog.Logger

	mu      sync.Mutex // guards what follows
	held    []*kilnv1.BootEvent
	dropped int
}

// New makes one. Send is called by one goroutine at a time.
func New(edge string, send func(ctx context.Context, events []*kilnv1.BootEvent) error, log *slog.Logger) *Reporter {
	return &Reporter{edge: edge, send: send, log: log}
}

// Add takes an event. The oldest go when there are too many.
func (e *Reporter) Add(event *kilnv1.BootEvent) {
	if e == nil {
		return
	}
	if event.UnixMs == 0 {
		event.UnixMs = time.Now().UnixMilli()
	}
	event.Edge = e.edge
	countEvent(event)
	trace(event)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.held) >= maxHeld {
		e.held = e.held[1:]
		e.dropped++
	}
	e.held = append(e.held, event)
}

// Held is how many events wait to be told.
func (e *Reporter) Held() int {
	if e == nil {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.held)
}

// Run tells events until ctx ends, and then what is left, once.
func (e *Reporter) Run(ctx context.Context) {
	ticker := time.NewTicker(reportWait)
	defer ticker.Stop()
	failing := false
	for last := false; !last; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			last = true
		}
		for {
			events := e.take()
			if len(events) == 0 {
				break
			}
			if err := e.tell(ctx, events); err != nil {
				if !failing {
					e.log.Warn("what machines do cannot be told now", "error", err)
				}
				failing = true
				e.putBack(events)
				break
			}
			failing = false
		}
	}
}

// take returns the oldest events.
func (e *Reporter) take() []*kilnv1.BootEvent {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dropped > 0 {
		lost.Add(context.Background(), int64(e.dropped))
		e.log.Warn("what machines did could not be told, and some of it is lost", "events", e.dropped)
		e.dropped = 0
	}
	n := min(len(e.held), maxReport)
	events := e.held[:n:n]
	e.held = e.held[n:]
	return events
}

// putBack holds events that could not be told before those that came since.
func (e *Reporter) putBack(events []*kilnv1.BootEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = append(events, e.held...)
	if over := len(e.held) - maxHeld; over > 0 {
		e.held = e.held[over:]
		e.dropped += over
	}
}

func (e *Reporter) tell(ctx context.Context, events []*kilnv1.BootEvent) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWait)
	defer cancel()
	return e.send(ctx, events)
}
