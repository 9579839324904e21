package edge

import (
	"context"
	"log/slog"
	"sync"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	maxHeld    = 10_000 // events that wait to be told
	reportWait = 250 * time.Millisecond
)

// Events tells the farm what machines do. What cannot be told now is told later; a boot never waits for it.
type Events struct {
	edge string
	send func(ctx context.Context, events []*kilnv1.BootEvent) error
	log  *slog.Logger

	mu      sync.Mutex // guards what follows
	held    []*kilnv1.BootEvent
	dropped int
}

// NewEvents makes one. Send is called by one goroutine at a time.
func NewEvents(edge string, send func(ctx context.Context, events []*kilnv1.BootEvent) error, log *slog.Logger) *Events {
	return &Events{edge: edge, send: send, log: log}
}

// Add takes an event. The oldest go when there are too many.
func (e *Events) Add(event *kilnv1.BootEvent) {
	if e == nil {
		return
	}
	if event.UnixMs == 0 {
		event.UnixMs = time.Now().UnixMilli()
	}
	event.Edge = e.edge
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.held) >= maxHeld {
		e.held = e.held[1:]
		e.dropped++
	}
	e.held = append(e.held, event)
}

// Run tells events until ctx ends, and then what is left, once.
func (e *Events) Run(ctx context.Context) {
	ticker := time.NewTicker(reportWait)
	defer ticker.Stop()
	failing := false
	for {
		last := false
		select {
		case <-ticker.C:
		case <-ctx.Done():
			last = true
		}
		e.mu.Lock()
		events, dropped := e.held, e.dropped
		e.held, e.dropped = nil, 0
		e.mu.Unlock()
		if dropped > 0 {
			e.log.Warn("what machines did could not be told, and some of it is lost", "events", dropped)
		}
		if len(events) > 0 {
			send, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			err := e.send(send, events)
			cancel()
			if err != nil {
				if !failing {
					e.log.Warn("what machines do cannot be told now", "error", err)
				}
				e.mu.Lock()
				e.held = append(events, e.held...)
				e.mu.Unlock()
			}
			failing = err != nil
		}
		if last {
			return
		}
	}
}
