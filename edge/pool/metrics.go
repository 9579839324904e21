package pool

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/internal/meter"
)

// What pools count. Clients are not told apart here.
var (
	meters    = meter.Of("edge/pool")
	decisions = meters.Counter("kiln.edge.pool.packets", "{packet}", "DHCP packets of clients in subnets with pools, by what was done")
	refusals  = meters.Counter("kiln.edge.pool.refused", "{packet}", "DHCP packets that were not looked at, by whose limit it was")
	malformed = meters.Counter("kiln.edge.pool.malformed", "{packet}", "DHCP packets whose option 82 could not be read")
	exhausted = meters.Counter("kiln.edge.pool.exhausted", "{packet}", "Packets of clients that found no address because none was free, by subnet")
	crowded   = meters.Counter("kiln.edge.pool.crowded", "{packet}", "Packets of clients that found no address because those that are free were offered to others, by subnet")
	conflicts = meters.Counter("kiln.edge.pool.conflicts", "{address}", "Free addresses that somebody was found to use")
)

func counted(c metric.Int64Counter, key, value string) {
	c.Add(context.Background(), 1, metric.WithAttributes(attribute.String(key, value)))
}

// Measure registers what there is now, until stop is called.
func (p *Pool) Measure() (stop func()) {
	free := meters.Gauge("kiln.edge.pool.free", "{address}", "Addresses that this edge can offer now, by subnet", func(observe func(int64, ...metric.ObserveOption)) {
		p.mu.Lock()
		sum := map[string]int{}
		for _, s := range p.stocks {
			sum[s.subnet] += len(s.free)
		}
		p.mu.Unlock()
		for name, n := range sum {
			observe(int64(n), metric.WithAttributes(attribute.String("subnet", name)))
		}
	})
	bound := meters.Gauge("kiln.edge.pool.bindings", "{binding}", "Bindings that this edge knows of", func(observe func(int64, ...metric.ObserveOption)) {
		p.mu.Lock()
		n := len(p.replica.At)
		p.mu.Unlock()
		observe(int64(n))
	})
	away := meters.Gauge("kiln.edge.pool.away", "{farm}", "1 while the farm binds no addresses", func(observe func(int64, ...metric.ObserveOption)) {
		var n int64
		if p.commits.IsAway() {
			n = 1
		}
		observe(n)
	})
	full := meters.Gauge("kiln.edge.pool.full", "{pool}", "Pools of a subnet that are exhausted", func(observe func(int64, ...metric.ObserveOption)) {
		p.mu.Lock()
		sum := map[string]int64{}
		for _, s := range p.stocks {
			_ = sum[s.subnet]
			if s.extent.full {
				sum[s.subnet]++
			}
		}
		p.mu.Unlock()
		for name, n := range sum {
			observe(n, metric.WithAttributes(attribute.String("subnet", name)))
		}
	})
	return func() { free(); bound(); away(); full() }
}
