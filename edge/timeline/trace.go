package timeline

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	oteltrace "go.opentelemetry.io/otel/trace"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// trace makes a span of an event. A boot is one trace, whose id is that of the boot's token: edges that know nothing of each
// other write into the same one. What comes before the script has no token, and is a trace of its own.
func trace(e *kilnv1.BootEvent) {
	ctx := context.Background()
	if parent := bootContext(e.GetBoot()); parent.IsValid() {
		ctx = oteltrace.ContextWithRemoteSpanContext(ctx, parent)
	}
	end := time.UnixMilli(e.GetUnixMs())
	begin := end.Add(-time.Duration(e.GetDurationMs()) * time.Millisecond)
	stage := strings.ToLower(strings.TrimPrefix(e.GetStage().String(), "BOOT_STAGE_"))
	_, span := otel.Tracer("github.com/kiln-farm/kiln/edge").Start(ctx, "boot "+stage, oteltrace.WithTimestamp(begin), oteltrace.WithSpanKind(oteltrace.SpanKindServer))
	if span.IsRecording() {
		span.SetAttributes(attribute.String("machine.name", e.GetMachine()), attribute.String("machine.mac", e.GetMac()), attribute.String("kiln.edge", e.GetEdge()),
			attribute.String("kiln.boot", e.GetBoot()), attribute.String("kiln.detail", e.GetDetail()), attribute.Int64("kiln.bytes", e.GetBytes()))
		if e.GetStage() == kilnv1.BootStage_BOOT_STAGE_FAILED {
			span.SetStatus(codes.Error, e.GetDetail())
		}
	}
	span.End(oteltrace.WithTimestamp(end))
}

// bootContext is the span that all stages of a boot are under. Nobody ends it, as nobody sees all of a boot.
func bootContext(boot string) oteltrace.SpanContext {
	id, err := hex.DecodeString(boot)
	if err != nil || len(id) != len(oteltrace.TraceID{}) {
		return oteltrace.SpanContext{}
	}
	return oteltrace.NewSpanContext(oteltrace.SpanContextConfig{
		TraceID: oteltrace.TraceID(id), SpanID: oteltrace.SpanID(id[:8]), TraceFlags: oteltrace.FlagsSampled, Remote: true,
	})
}
