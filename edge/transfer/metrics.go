package transfer

import "github.com/kiln-farm/kiln/internal/meter"

var (
	meters    = meter.Of("edge")
	httpBytes = meters.Counter("kiln.edge.http.bytes", "By", "Bytes of bodies sent over HTTP")
	httpWait  = meters.Seconds("kiln.edge.http.wait.duration", "Time that transfers over HTTP waited for their turns because of other machines")
	httpNo    = meters.Counter("kiln.edge.http.refused", "{transfer}", "Transfers over HTTP that were too many: clients were told to ask again, by what was full")
)
