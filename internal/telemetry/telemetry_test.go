package telemetry

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
)

func TestWanted(t *testing.T) {
	const endpoint = "http://127.0.0.1:4318"
	cases := []struct {
		name string
		env  map[string]string
		want bool
	}{
		{"nothing is set", nil, false},
		{"an endpoint is set", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, true},
		{"an endpoint for traces is set", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}, true},
		{"the SDK is disabled", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SDK_DISABLED": "true"}, false},
		{"traces go nowhere", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_EXPORTER": "none"}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := wanted(func(name string) string { return c.env[name] }); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestNothingIsStartedWithoutAnEndpoint(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	before := otel.GetTracerProvider()
	shutdown, err := Start(context.Background(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	if otel.GetTracerProvider() != before {
		t.Error("a tracer provider was installed")
	}
	if err := shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestSpansReachTheEndpointBeforeTheEnd(t *testing.T) {
	bodies := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- r.URL.Path + " " + string(body)
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_SDK_DISABLED", "")
	t.Setenv("OTEL_TRACES_EXPORTER", "")
	t.Setenv("OTEL_SERVICE_NAME", "kiln-under-test")
	before := otel.GetTracerProvider()
	defer otel.SetTracerProvider(before)
	ctx, cancel := context.WithCancel(context.Background())
	shutdown, err := Start(ctx, "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	_, span := otel.Tracer("test").Start(ctx, "bake a brick")
	span.End()
	cancel() // a command that was interrupted still sends what it has
	if err := shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-bodies:
		for _, part := range []string{"/v1/traces ", "bake a brick", "kiln-under-test", "v1.2.3"} {
			if !strings.Contains(got, part) {
				t.Errorf("%q is not in %.200q", part, got)
			}
		}
	default:
		t.Error("no span arrived")
	}
}
