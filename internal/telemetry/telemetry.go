// Package telemetry turns OpenTelemetry on when the environment asks for it.
//
// The standard variables decide (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_SDK_DISABLED,
// OTEL_SERVICE_NAME, ...). Without an endpoint nothing is started and spans cost next to nothing. The rest of Kiln uses
// OpenTelemetry's global tracer and knows nothing of this package.
package telemetry

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// flushWait bounds how long the end of a process waits for its last spans.
const flushWait = 3 * time.Second

// Start sets the global tracer up as the environment says. The function it returns sends what is left and stops.
func Start(ctx context.Context, version string) (shutdown func(context.Context) error, err error) {
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	if !wanted(os.Getenv) {
		return func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("start telemetry: %w; check the OTEL_EXPORTER_OTLP_* variables", err)
	}
	described, err := describe(ctx, version)
	if err != nil {
		return nil, err
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(described))
	otel.SetTracerProvider(provider)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWait)
		defer cancel()
		return provider.Shutdown(ctx)
	}, nil
}

// describe says whose telemetry it is.
func describe(ctx context.Context, version string) (*resource.Resource, error) {
	r, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "kiln"), attribute.String("service.version", version)),
		resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("start telemetry: %w", err)
	}
	return r, nil
}

// wanted says whether an endpoint is named and the SDK is not disabled.
func wanted(env func(string) string) bool {
	if env("OTEL_SDK_DISABLED") == "true" || env("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}
