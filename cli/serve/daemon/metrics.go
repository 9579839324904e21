package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/telemetry"
	"github.com/kiln-farm/kiln/internal/version"
)

// MetricsFlags say who gets the metrics of a process that runs for long.
type MetricsFlags struct{ metrics string }

func (f *MetricsFlags) AddMetrics(flags *pflag.FlagSet) {
	flags.StringVar(&f.metrics, "metrics-listen", "", "address at which Prometheus may read metrics at /metrics, such as 127.0.0.1:7390 (default: nowhere; OTEL_EXPORTER_OTLP_ENDPOINT sends them)")
}

// Measure begins to collect metrics. It comes before anything that counts for long.
func (f *MetricsFlags) Measure(ctx context.Context, log *slog.Logger, clean *Closers) error {
	handler, stop, err := telemetry.Metrics(ctx, version.String(), f.metrics != "", log)
	if err != nil {
		return ui.Usagef("%w", err)
	}
	clean.Add(func() error {
		if err := stop(context.WithoutCancel(ctx)); err != nil {
			log.Warn("the last metrics are lost", "error", err)
		}
		return nil
	})
	if handler == nil {
		return nil
	}
	listener, err := listenAs(ctx, "--metrics-listen", f.metrics)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: HeaderTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	clean.Add(func() error {
		err := server.Close()
		if ended := <-done; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	})
	log.Info("metrics", "address", "http://"+listener.Addr().String()+"/metrics")
	return nil
}
