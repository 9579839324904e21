package tftp

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/internal/meter"
)

var drops = meter.Of("edge/tftp").Counter("kiln.edge.tftp.dropped", "{request}", "TFTP requests that were not answered, so that their clients ask again, by whose limit it was")

// Whose limit kept a request from being answered.
const (
	limitEdge   = "edge"   // transfers at once
	limitClient = "client" // of one address
)

const complainEvery = 10 * time.Second

func (s *Server) drop(limit string) {
	s.dropped.Add(1)
	if limit == limitEdge {
		s.full.Add(1)
	}
	drops.Add(context.Background(), 1, metric.WithAttributes(attribute.String("limit", limit)))
}

// complain says when this edge is what machines wait for, until ctx ends. Of several sockets whose turn it is says it for all.
func (s *Server) complain(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, complainEvery)
		if n := s.full.Swap(0); n > 0 {
			s.log().Warn("this edge does not keep up with TFTP: machines ask again, and boot later; start another edge",
				"unanswered", n, "transfers_at_once", either(s.MaxTransfers, DefaultTransfers), "within", complainEvery)
		}
	}
}
