package dhcp

import (
	"context"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/edge/links"
	"github.com/kiln-farm/kiln/internal/meter"
)

var (
	meters    = meter.Of("edge/dhcp")
	queueTime = meters.Seconds("kiln.edge.dhcp.queue.duration", "Time that DHCP packets waited for their turn")
	drops     = meters.Counter("kiln.edge.dhcp.dropped", "{packet}", "DHCP packets that were dropped because this edge did not keep up, by what was full")
)

// What was full when a packet was dropped.
const (
	queueFull = "queue"   // of packets that wait for their turn
	tooLate   = "late"    // it had waited for so long that its client had asked again
	laterFull = "answers" // that wait for their time
)

const complainEvery = 10 * time.Second

func (s *Server) drop(why string) {
	s.dropped.Add(1)
	drops.Add(context.Background(), 1, metric.WithAttributes(attribute.String("full", why)))
}

// took notes for how long a packet waited for its turn.
func (s *Server) took(waited time.Duration) {
	queueTime.Record(context.Background(), waited.Seconds())
	for longest := s.longest.Load(); int64(waited) > longest && !s.longest.CompareAndSwap(longest, int64(waited)); {
		longest = s.longest.Load()
	}
}

// complain says when this edge is what machines wait for, until ctx ends.
func (s *Server) complain(ctx context.Context) {
	before := s.dropped.Load()
	for ctx.Err() == nil {
		links.Pause(ctx, complainEvery)
		now, waited := s.dropped.Load(), time.Duration(s.longest.Swap(0))
		if now > before || waited > time.Second {
			s.log().Warn("this edge does not keep up with DHCP: machines ask again, and boot later; start another edge, or give this one more CPU",
				"dropped", now-before, "longest_wait", waited, "within", complainEvery)
		}
		before = now
	}
}

// begins says whether a packet is a DISCOVER, which all clients begin their options with. When there is much to do those who have
// begun go first: otherwise nobody comes to an end.
func begins(packet []byte) bool {
	const options = 240 // bytes before them
	return len(packet) > options+2 && packet[options] == optMessage && packet[options+2] == byte(dhcpv4.MessageTypeDiscover)
}
