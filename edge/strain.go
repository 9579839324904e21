package edge

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/bottleneck"
)

// watchedBlobs notes for how long somebody waits for a blob: those that are here come at once, all others from the shared cache.
type watchedBlobs struct {
	cache.Blobs
	edge *Edge
}

// Open implements cache.Blobs.
func (b watchedBlobs) Open(ctx context.Context, d cache.Digest) (*cache.File, error) {
	end := b.edge.fills.Begin(b.edge.age())
	defer func() { end(b.edge.age()) }()
	return b.Blobs.Open(ctx, d)
}

// age of the edge: a clock that never goes backwards.
func (e *Edge) age() time.Duration { return time.Since(e.begun) }

// Watch says when machines wait because of this edge, what for, and when that is over, until ctx ends. Others tells how many
// TFTP transfers are under way and how many requests were too many for TFTP; nil: there is none.
func (e *Edge) Watch(ctx context.Context, others func() (transfers int, dropped uint64)) {
	ticker := time.NewTicker(bottleneck.Every)
	defer ticker.Stop()
	var judge bottleneck.Judge
	for {
		e.state(judge.Add(e.sample(others)))
		cause, machines := judge.Now()
		e.strain.Store(&strained{cause, machines})
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// strained is how it stands now.
type strained struct {
	cause    bottleneck.Cause
	machines int
}

func (e *Edge) sample(others func() (int, uint64)) bottleneck.Sample {
	at := e.age()
	counts := e.queue.Counts()
	s := bottleneck.Sample{At: at, Starved: counts.Starved, Waiting: counts.WaitingClients, Refused: counts.Refused}
	s.Fills, s.Filling = e.fills.Total(at)
	if others != nil {
		transfers, dropped := others()
		s.TFTP, s.Refused = transfers, s.Refused+dropped
	}
	bottleneck.Host(&s)
	return s
}

// state makes a statement in the log.
func (e *Edge) state(say bottleneck.Statement) {
	if say.Cause == "" {
		return
	}
	args := []any{"cause", say.Cause, "machines", say.Machines, "since", e.begun.Add(say.Since).Format(time.RFC3339), "lasts", (e.age() - say.Since).Round(time.Second)}
	if say.Part != "" {
		args = append(args, "interface", say.Part)
	}
	if say.Over {
		e.cfg.Log.Info("machines wait no more because of this edge", args...)
		return
	}
	e.cfg.Log.Warn("machines wait because of this edge: "+say.Cause.Remedy(), args...)
}

// measureStrain registers what machines wait for here, until stop is called.
func (e *Edge) measureStrain() (stop func()) {
	var all []func()
	gauge := func(name, unit, help string, observe func(func(int64, ...metric.ObserveOption))) {
		all = append(all, meters.Gauge(name, unit, help, observe))
	}
	gauge("kiln.edge.bottleneck", "{machine}", "Machines that wait because of this edge, by what they wait for; 0 when they do not for long", func(observe func(int64, ...metric.ObserveOption)) {
		now := e.strain.Load()
		for _, c := range []bottleneck.Cause{bottleneck.Cache, bottleneck.Line, bottleneck.CPU, bottleneck.Disk, bottleneck.Limit, bottleneck.Network} {
			n := 0
			if now != nil && now.cause == c {
				n = now.machines
			}
			observe(int64(n), metric.WithAttributes(attribute.String("cause", string(c))))
		}
	})
	gauge("kiln.edge.http.transfers", "{transfer}", "Transfers over HTTP that are under way", func(observe func(int64, ...metric.ObserveOption)) {
		observe(int64(e.queue.Counts().Transfers))
	})
	gauge("kiln.edge.http.waiting", "{client}", "Clients that wait for their turn", func(observe func(int64, ...metric.ObserveOption)) {
		observe(int64(e.queue.Counts().WaitingClients))
	})
	gauge("kiln.edge.fills.waiting", "{request}", "Requests that wait for a file from the shared cache", func(observe func(int64, ...metric.ObserveOption)) {
		_, now := e.fills.Total(0)
		observe(int64(now))
	})
	return func() {
		for _, stop := range all {
			stop()
		}
	}
}
