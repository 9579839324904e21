package coordinator

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/meter"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// What a leader counts. A farm's figures are the sums over its coordinators, since only one leads at a time.
var (
	meters      = meter.Of("coordinator")
	leaseWaits  = meters.Seconds("kiln.step.wait", "Time from ready to durably leased, of steps")
	completions = meters.Counter("kiln.step.completions", "{step}", "Completions that were taken, by how the step ended")
	buildsEnded = meters.Counter("kiln.build.ended", "{build}", "Builds that ended, by their last state")
	dnsUpdates  = meters.Counter("kiln.dns.updates", "{record}", "Records that DNS servers were told of, by what came of it")
	bootEvents  = meters.Counter("kiln.boot.events", "{event}", "What edges told of machines, by stage")
)

// measure registers what is there now, until stop is called.
func (l *leader) measure() (stop func()) {
	stops := []func(){
		meters.Gauge("kiln.builds", "{build}", "Builds that have not ended", func(observe func(int64, ...metric.ObserveOption)) {
			var n int64
			l.fsm.View(func(m *state.Machine) {
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
			l.fsm.View(func(m *state.Machine) {
				for _, t := range m.Tasks() {
					if name, ok := names[t.State]; ok {
						counts[name]++
					}
				}
			})
			for name, n := range counts {
				observe(n, labeled("state", name))
			}
		}),
		meters.Gauge("kiln.builders", "{builder}", "Builders that were heard of lately", func(observe func(int64, ...metric.ObserveOption)) {
			observe(int64(len(l.builders())))
		}),
		meters.Gauge("kiln.edges", "{edge}", "Edges that watch what machines boot", func(observe func(int64, ...metric.ObserveOption)) {
			observe(int64(len(l.room.edgesHere())))
		}),
		meters.Gauge("kiln.dns.records", "{record}", "Records that DNS should hold, by what became of them", func(observe func(int64, ...metric.ObserveOption)) {
			states, _ := l.names.counts()
			for state, name := range kilnv1.NameState_name {
				if now := kilnv1.NameState(state); now != kilnv1.NameState_NAME_STATE_UNSPECIFIED && len(states) > 0 {
					observe(states[now], labeled("state", enumName(name, "NAME_STATE_")))
				}
			}
		}),
		meters.Gauge("kiln.dns.wait", "s", "How long a DNS server lacks what it should hold, or holds what it should not", func(observe func(int64, ...metric.ObserveOption)) {
			_, longest := l.names.counts()
			for server, wait := range longest {
				observe(int64(wait.Seconds()), labeled("server", server))
			}
		}),
		meters.Gauge("kiln.leader.term", "{term}", "Raft's term, where this coordinator leads", func(observe func(int64, ...metric.ObserveOption)) {
			observe(int64(l.term))
		}),
	}
	return func() {
		for _, s := range stops {
			s()
		}
	}
}

func (l *leader) countBoots(events []*kilnv1.BootEvent) {
	for _, e := range events {
		bootEvents.Add(l.ctx, 1, labeled("stage", enumName(e.GetStage().String(), "BOOT_STAGE_")))
	}
}

// enumName is an enum's value as people write it.
func enumName(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

// labels are options for every kind of instrument.
type labels interface {
	metric.AddOption
	metric.RecordOption
	metric.ObserveOption
}

func labeled(key, value string) labels {
	return metric.WithAttributes(attribute.String(key, value))
}
