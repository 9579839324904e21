package edge

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/edge/bottleneck"
	"github.com/kiln-farm/kiln/internal/meter"
)

// What an edge counts. Machines are not told apart here: their timelines do that.
var (
	meters   = meter.Of("edge")
	httpTime = meters.Seconds("kiln.edge.http.duration", "Time of HTTP requests, by the first part of their path and status")
	httpNow  = meters.UpDown("kiln.edge.http.active", "{request}", "HTTP requests under way")
)

// Measure registers what there is now, until stop is called.
func (e *Edge) Measure() (stop func()) {
	all := []func(){e.watcher.Measure()}
	gauge := func(name, unit, help string, observe func(func(int64, ...metric.ObserveOption))) {
		all = append(all, meters.Gauge(name, unit, help, observe))
	}
	gauge("kiln.edge.intent.revision", "{revision}", "The intent that machines boot from here", func(observe func(int64, ...metric.ObserveOption)) {
		observe(int64(e.cfg.Intents.Revision()))
	})
	gauge("kiln.edge.events.held", "{event}", "Events that wait to be told", func(observe func(int64, ...metric.ObserveOption)) {
		observe(int64(e.cfg.Events.Held()))
	})
	gauge("kiln.edge.http.transfers", "{transfer}", "Transfers over HTTP that are under way", func(observe func(int64, ...metric.ObserveOption)) {
		observe(int64(e.sender.Queue().Counts().Transfers))
	})
	gauge("kiln.edge.http.waiting", "{client}", "Clients that wait for their turn", func(observe func(int64, ...metric.ObserveOption)) {
		observe(int64(e.sender.Queue().Counts().WaitingClients))
	})
	gauge("kiln.edge.fills.waiting", "{request}", "Requests that wait for a file from the shared cache", func(observe func(int64, ...metric.ObserveOption)) {
		_, now := e.files.Waiting()
		observe(int64(now))
	})
	return func() {
		for _, stop := range all {
			stop()
		}
	}
}

// Watch says when machines wait because of this edge, what for, and when that is over, until ctx ends. Others tells how many
// TFTP transfers are under way and how many requests were too many for TFTP; nil: there is none.
func (e *Edge) Watch(ctx context.Context, others func() (transfers int, dropped uint64)) {
	e.watcher.Watch(ctx, func(s *bottleneck.Sample) {
		counts := e.sender.Queue().Counts()
		s.Starved, s.Waiting, s.Refused = counts.Starved, counts.WaitingClients, counts.Refused
		s.Fills, s.Filling = e.files.Waiting()
		if others != nil {
			transfers, dropped := others()
			s.TFTP, s.Refused = transfers, s.Refused+dropped
		}
	})
}

// kindOf is the first part of a path that this edge knows; metrics must not grow with what strangers ask for.
func kindOf(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "", "healthz", "artifacts", "builds", "boot", "boot.ipxe", "files", "uki", "up", "loaders", "m", "latest", "nocloud", "openstack", "ignition", "kv":
		return first
	}
	return "other"
}
