package names

import (
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/internal/meter"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var dnsUpdates = meter.Of("coordinator").Counter("kiln.dns.updates", "{record}", "Records that DNS servers were told of, by what came of it")

// measure tells what there is now, until stop is called.
func (p *Duty) measure() (stop func()) {
	records := meter.Of("coordinator").Gauge("kiln.dns.records", "{record}", "Records that DNS should hold, by what became of them", func(observe func(int64, ...metric.ObserveOption)) {
		states, _ := p.counts()
		for state, name := range kilnv1.NameState_name {
			if now := kilnv1.NameState(state); now != kilnv1.NameState_NAME_STATE_UNSPECIFIED && len(states) > 0 {
				observe(states[now], meter.Label("state", meter.Enum(name, "NAME_STATE_")))
			}
		}
	})
	wait := meter.Of("coordinator").Gauge("kiln.dns.wait", "s", "How long a DNS server lacks what it should hold, or holds what it should not", func(observe func(int64, ...metric.ObserveOption)) {
		_, longest := p.counts()
		for server, wait := range longest {
			observe(int64(wait.Seconds()), meter.Label("server", server))
		}
	})
	return func() { records(); wait() }
}
