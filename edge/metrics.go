package edge

import (
	"strings"

	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/internal/meter"
)

// What an edge counts. Machines are not told apart here: their timelines do that.
var (
	meters    = meter.Of("edge")
	httpTime  = meters.Seconds("kiln.edge.http.duration", "Time of HTTP requests, by the first part of their path and status")
	httpBytes = meters.Counter("kiln.edge.http.bytes", "By", "Bytes of bodies sent over HTTP")
	httpNow   = meters.UpDown("kiln.edge.http.active", "{request}", "HTTP requests under way")
	httpWait  = meters.Seconds("kiln.edge.http.wait.duration", "Time that transfers over HTTP waited for their turns because of other machines")
	httpNo    = meters.Counter("kiln.edge.http.refused", "{transfer}", "Transfers over HTTP that were too many: clients were told to ask again, by what was full")
	tftpTime  = meters.Seconds("kiln.edge.tftp.duration", "Time of TFTP transfers, by how they ended")
	tftpBytes = meters.Counter("kiln.edge.tftp.bytes", "By", "Bytes sent over TFTP")
)

// Measure registers what there is now, until stop is called.
func (e *Edge) Measure() (stop func()) {
	revision := meters.Gauge("kiln.edge.intent.revision", "{revision}", "The intent that machines boot from here", func(observe func(int64, ...metric.ObserveOption)) {
		observe(int64(e.cfg.Intents.Revision()))
	})
	held := meters.Gauge("kiln.edge.events.held", "{event}", "Events that wait to be told", func(observe func(int64, ...metric.ObserveOption)) {
		observe(int64(e.cfg.Events.Held()))
	})
	strain := e.measureStrain()
	return func() { revision(); held(); strain() }
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
