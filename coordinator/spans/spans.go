package spans

import (
	"context"
	"net/http"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const tracerName = "github.com/kiln-farm/kiln/coordinator"

// Spans are the open spans of builds and of leased steps.
type Spans struct {
	tracer trace.Tracer

	mu     sync.Mutex // guards what follows
	builds map[string]trace.Span
	steps  map[uint64]trace.Span // by lease number
}

func New() *Spans {
	return &Spans{tracer: otel.Tracer(tracerName), builds: map[string]trace.Span{}, steps: map[uint64]trace.Span{}}
}

// StartBuild opens the span of a build under that of the request that brought it.
func (s *Spans) StartBuild(ctx context.Context, id, name string) {
	_, span := s.tracer.Start(context.WithoutCancel(ctx), "build", trace.WithAttributes(
		attribute.String("build.id", id), attribute.String("build.name", name)))
	if !span.IsRecording() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.builds[id] == nil {
		s.builds[id] = span
	}
}

// of is ctx with the span of a build.
func (s *Spans) of(ctx context.Context, build string) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if span := s.builds[build]; span != nil {
		return trace.ContextWithSpan(ctx, span)
	}
	return ctx
}

// Start opens a span under that of a build.
func (s *Spans) Start(ctx context.Context, build, name string) (context.Context, trace.Span) {
	return s.tracer.Start(s.of(ctx, build), name)
}

// StartStep opens the span of a lease under its build's and returns its W3C traceparent, "" when nobody traces.
func (s *Spans) StartStep(lease uint64, build, key, kind, label, builder string) string {
	ctx, span := s.tracer.Start(s.of(context.Background(), build), "step "+kind, trace.WithAttributes(
		attribute.String("build.id", build), attribute.String("step.key", key),
		attribute.String("step.label", label), attribute.String("builder.id", builder)))
	if !span.IsRecording() {
		return ""
	}
	s.mu.Lock()
	s.steps[lease] = span
	s.mu.Unlock()
	header := http.Header{}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
	return header.Get("traceparent")
}

// Step closes the span of a lease; reason is empty when it was completed.
func (s *Spans) Step(lease uint64, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end(s.steps[lease], reason)
	delete(s.steps, lease)
}

// EndBuild closes the span of a build.
func (s *Spans) EndBuild(id, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end(s.builds[id], reason)
	delete(s.builds, id)
}

// Close closes all that are open: another leader goes on with their work.
func (s *Spans) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.steps {
		end(span, "the coordinator stopped leading")
	}
	for _, span := range s.builds {
		end(span, "the coordinator stopped leading")
	}
}

func end(span trace.Span, reason string) {
	if span == nil {
		return
	}
	if reason != "" {
		span.SetStatus(codes.Error, reason)
	}
	span.End()
}
