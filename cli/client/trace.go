package client

import (
	"net/http"

	"go.opentelemetry.io/otel/propagation"
)

// withTrace adds the trace context of each request to its headers (W3C Trace Context).
func withTrace(client *http.Client) *http.Client {
	out := *client
	out.Transport = traced{client.Transport}
	return &out
}

type traced struct{ next http.RoundTripper }

func (t traced) RoundTrip(req *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	carrier := propagation.HeaderCarrier{}
	propagation.TraceContext{}.Inject(req.Context(), carrier)
	if len(carrier) == 0 {
		return next.RoundTrip(req)
	}
	req = req.Clone(req.Context())
	for name, values := range carrier {
		req.Header[name] = values
	}
	return next.RoundTrip(req)
}
