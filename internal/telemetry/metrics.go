package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
)

// Metrics sets the global meter up: for whoever scrapes the handler, and for the OTLP endpoint of the environment when there is
// one (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, OTEL_METRICS_EXPORTER). The handler is nil when scraped
// is false, and nothing is set up when nobody wants metrics. Shutdown sends what is left.
func Metrics(ctx context.Context, version string, scraped bool, log *slog.Logger) (handler http.Handler, shutdown func(context.Context) error, err error) {
	var readers []metric.Reader
	if scraped {
		registry := prometheus.NewRegistry()
		reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo())
		if err != nil {
			return nil, nil, fmt.Errorf("start metrics: %w", err)
		}
		readers = append(readers, reader)
		handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)})
	}
	if wantedMetrics(os.Getenv) {
		pushed, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("start metrics: %w; check the OTEL_EXPORTER_OTLP_* variables", err)
		}
		readers = append(readers, metric.NewPeriodicReader(pushed))
	}
	if len(readers) == 0 {
		return nil, func(context.Context) error { return nil }, nil
	}
	described, err := describe(ctx, version)
	if err != nil {
		return nil, nil, err
	}
	options := []metric.Option{metric.WithResource(described)}
	for _, r := range readers {
		options = append(options, metric.WithReader(r))
	}
	provider := metric.NewMeterProvider(options...)
	otel.SetMeterProvider(provider)
	return handler, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWait)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil && !errors.Is(err, metric.ErrReaderShutdown) {
			return fmt.Errorf("metrics could not be sent: %w", err)
		}
		return nil
	}, nil
}

// wantedMetrics says whether an endpoint takes metrics.
func wantedMetrics(env func(string) string) bool {
	if env("OTEL_SDK_DISABLED") == "true" || env("OTEL_METRICS_EXPORTER") == "none" {
		return false
	}
	return env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") != ""
}
