package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
)

func TestMetricsAreScrapedAndSent(t *testing.T) {
	sent := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent <- r.URL.Path + " " + string(body)
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_SDK_DISABLED", "")
	t.Setenv("OTEL_METRICS_EXPORTER", "")
	before := otel.GetMeterProvider()
	defer otel.SetMeterProvider(before)
	bricks, err := otel.Meter("test").Int64Counter("kiln.bricks") // before the provider is there, as packages do
	if err != nil {
		t.Fatal(err)
	}
	handler, shutdown, err := Metrics(t.Context(), "v1.2.3", true, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	bricks.Add(t.Context(), 7)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(w.Body.String(), "kiln_bricks_total 7") {
		t.Errorf("scraped:\n%s", w.Body)
	}
	if err := shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-sent:
		if !strings.HasPrefix(got, "/v1/metrics ") || !strings.Contains(got, "kiln.bricks") {
			t.Errorf("sent %.200q", got)
		}
	default:
		t.Error("nothing was sent")
	}
}

func TestNobodyWantsMetrics(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "")
	before := otel.GetMeterProvider()
	handler, shutdown, err := Metrics(t.Context(), "v1", false, slog.Default())
	if err != nil || handler != nil || otel.GetMeterProvider() != before {
		t.Errorf("handler %v, %v", handler, err)
	}
	if err := shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
