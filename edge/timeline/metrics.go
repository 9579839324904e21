package timeline

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/internal/meter"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var (
	meters = meter.Of("edge")
	stages = meters.Counter("kiln.edge.boot.events", "{event}", "What machines did, by stage")
	lost   = meters.Counter("kiln.edge.events.lost", "{event}", "Events that nobody could be told for too long")
)

func countEvent(e *kilnv1.BootEvent) {
	stages.Add(context.Background(), 1, metric.WithAttributes(attribute.String("stage", strings.ToLower(strings.TrimPrefix(e.GetStage().String(), "BOOT_STAGE_")))))
}
