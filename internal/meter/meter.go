// Package meter makes instruments of OpenTelemetry's global meter, which count for nobody until somebody wants metrics
// (internal/telemetry). A name that OpenTelemetry refuses goes to its error handler, and its instrument does nothing.
package meter

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

// Meter makes the instruments of one package.
type Meter struct{ m metric.Meter }

// Of is the meter of a package of Kiln: "edge".
func Of(pkg string) Meter { return Meter{otel.Meter("github.com/kiln-farm/kiln/" + pkg)} }

// Counter counts what only grows. The unit is of UCUM, in braces when it is a thing: "By", "{step}".
func (m Meter) Counter(name, unit, help string) metric.Int64Counter {
	c, err := m.m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(help))
	handle(err)
	return c
}

// UpDown counts what is there now.
func (m Meter) UpDown(name, unit, help string) metric.Int64UpDownCounter {
	c, err := m.m.Int64UpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(help))
	handle(err)
	return c
}

// Seconds is a histogram of times. The buckets go from 1 ms to 10 min.
func (m Meter) Seconds(name, help string) metric.Float64Histogram {
	h, err := m.m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(help),
		metric.WithExplicitBucketBoundaries(.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 120, 300, 600))
	handle(err)
	return h
}

// Gauge is a value that is looked up when somebody asks. Observe may be called at any time, until stop is.
func (m Meter) Gauge(name, unit, help string, observe func(observe func(value int64, options ...metric.ObserveOption))) (stop func()) {
	g, err := m.m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help))
	handle(err)
	if err != nil {
		return func() {}
	}
	r, err := m.m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		observe(func(value int64, options ...metric.ObserveOption) { o.ObserveInt64(g, value, options...) })
		return nil
	}, g)
	handle(err)
	if err != nil {
		return func() {}
	}
	return func() { handle(r.Unregister()) }
}

func handle(err error) {
	if err != nil {
		otel.Handle(err)
	}
}
