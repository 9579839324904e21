package cli

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestMetricsAreServedWhereTheyAreAskedFor(t *testing.T) {
	w := newWorld(t)
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := probe.Addr().String()
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	w.startServer(t, t.TempDir(), "--metrics-listen", address)
	res, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kiln_builders 1\n", "kiln_builds 0\n", `kiln_steps{state="ready"} 0`, "kiln_leader_term ", `service_name="kiln"`} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %q in:\n%s", want, body)
		}
	}
}
