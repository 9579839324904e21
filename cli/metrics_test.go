package cli

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var measured atomic.Bool

func TestMetricsAreServedWhereTheyAreAskedFor(t *testing.T) {
	if measured.Swap(true) {
		t.Skip("OpenTelemetry's instruments go to the first meter provider of a process: -count runs this once")
	}
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
	wants := []string{"kiln_builders 1\n", "kiln_builds 0\n", `kiln_steps{state="ready"} 0`, "kiln_leader_term ", `service_name="kiln"`}
	var body string
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) { // the builder is heard of a moment later
		body = get(t, "http://"+address+"/metrics")
		if !slices.ContainsFunc(wants, func(want string) bool { return !strings.Contains(body, want) }) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("want %q in:\n%s", wants, body)
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
