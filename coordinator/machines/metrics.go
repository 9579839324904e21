package machines

import (
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/internal/meter"
)

var bootEvents = meter.Of("coordinator").Counter("kiln.boot.events", "{event}", "What edges told of machines, by stage")

// measure tells what there is now, until stop is called.
func (h *Duty) measure() (stop func()) {
	return meter.Of("coordinator").Gauge("kiln.edges", "{edge}", "Edges that watch what machines boot", func(observe func(int64, ...metric.ObserveOption)) {
		observe(int64(len(h.Edges())))
	})
}
