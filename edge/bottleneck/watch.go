package bottleneck

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/internal/meter"
)

// Watcher watches an edge.
type Watcher struct {
	log   *slog.Logger
	begun time.Time
	now   atomic.Pointer[verdict]
}

// NewWatcher makes a Watcher that says in log what it finds.
func NewWatcher(log *slog.Logger) *Watcher { return &Watcher{log: log, begun: time.Now()} }

// verdict is how it stands now.
type verdict struct {
	cause    Cause
	machines int
}

// Watch says when machines wait because of this edge, what for, and when that is over, until ctx ends. Count adds to a sample what
// the edge counts itself.
func (w *Watcher) Watch(ctx context.Context, count func(*Sample)) {
	ticker := time.NewTicker(Every)
	defer ticker.Stop()
	var judge Judge
	for {
		s := Sample{At: w.age()}
		count(&s)
		Host(&s)
		w.state(judge.Add(s))
		cause, machines := judge.Now()
		w.now.Store(&verdict{cause, machines})
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// age of the edge: a clock that never goes backwards.
func (w *Watcher) age() time.Duration { return time.Since(w.begun) }

// state makes a statement in the log.
func (w *Watcher) state(say Statement) {
	if say.Cause == "" {
		return
	}
	args := []any{"cause", say.Cause, "machines", say.Machines, "since", w.begun.Add(say.Since).Format(time.RFC3339), "lasts", (w.age() - say.Since).Round(time.Second)}
	if say.Part != "" {
		args = append(args, "interface", say.Part)
	}
	if say.Over {
		w.log.Info("machines wait no more because of this edge", args...)
		return
	}
	w.log.Warn("machines wait because of this edge: "+say.Cause.Remedy(), args...)
}

// Measure registers what machines wait for here, until stop is called.
func (w *Watcher) Measure() (stop func()) {
	return meter.Of("edge").Gauge("kiln.edge.bottleneck", "{machine}", "Machines that wait because of this edge, by what they wait for; 0 when they do not for long", func(observe func(int64, ...metric.ObserveOption)) {
		now := w.now.Load()
		for _, c := range []Cause{Cache, Line, CPU, Disk, Limit, Network} {
			n := 0
			if now != nil && now.cause == c {
				n = now.machines
			}
			observe(int64(n), metric.WithAttributes(attribute.String("cause", string(c))))
		}
	})
}
