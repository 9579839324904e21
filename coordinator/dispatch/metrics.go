package dispatch

import (
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/meter"
)

// What a leader counts. A farm's figures are the sums over its coordinators, since only one leads at a time.
var (
	meters      = meter.Of("coordinator")
	leaseWaits  = meters.Seconds("kiln.step.wait", "Time from ready to durably leased, of steps")
	completions = meters.Counter("kiln.step.completions", "{step}", "Completions that were taken, by how the step ended")
)

// measure tells what there is now, until stop is called.
func (l *Duty) measure() (stop func()) {
	stops := []func(){
		meters.Gauge("kiln.builds", "{build}", "Builds that have not ended", func(observe func(int64, ...metric.ObserveOption)) {
			var n int64
			l.View(func(m *state.Machine) {
				for _, b := range m.Builds() {
					if !b.Ended() {
						n++
					}
				}
			})
			observe(n)
		}),
		meters.Gauge("kiln.steps", "{step}", "Steps that builds wait for, by state", func(observe func(int64, ...metric.ObserveOption)) {
			names := map[state.TaskState]string{state.Fresh: "looked up", state.Ready: "ready", state.Leased: "leased"}
			counts := map[string]int64{}
			for _, name := range names {
				counts[name] = 0
			}
			l.View(func(m *state.Machine) {
				for _, t := range m.Tasks() {
					if name, ok := names[t.State]; ok {
						counts[name]++
					}
				}
			})
			for name, n := range counts {
				observe(n, meter.Label("state", name))
			}
		}),
		meters.Gauge("kiln.builders", "{builder}", "Builders that were heard of lately", func(observe func(int64, ...metric.ObserveOption)) {
			observe(int64(len(l.Builders())))
		}),
	}
	return func() {
		for _, s := range stops {
			s()
		}
	}
}
