package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/ui"
)

func TestTheServiceManagerHearsOfAProcessThatIsWell(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	heard := func(wait time.Duration) string {
		b := make([]byte, 64)
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return ""
		}
		return string(b[:n])
	}
	vars := map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "30000", "WATCHDOG_PID": strconv.Itoa(os.Getpid())}
	env := ui.Env{Getenv: func(name string) string { return vars[name] }}
	ctx, cancel := context.WithCancel(t.Context())
	var ill atomic.Bool
	sick := make(chan struct{}, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		Watchdog(ctx, env, slog.New(slog.DiscardHandler), func(context.Context) error {
			if !ill.Load() {
				return nil
			}
			sick <- struct{}{}
			return errors.New("it is ill")
		})
	}()
	for range 3 {
		if got := heard(10 * time.Second); got != node.Alive {
			t.Errorf("heard %q, want %q", got, node.Alive)
		}
	}
	ill.Store(true)
	for range 2 { // the sign of a check that had begun is there by the second
		<-sick
	}
	for heard(time.Millisecond) != "" {
	}
	<-sick
	if got := heard(10 * time.Millisecond); got != "" {
		t.Errorf("a process that is ill says %q", got)
	}
	cancel()
	<-done
}

func TestAWatchdogThatNobodyAskedFor(t *testing.T) {
	for name, vars := range map[string]map[string]string{
		"none":                     {},
		"one of another process":   {"WATCHDOG_USEC": "30000", "WATCHDOG_PID": "1"},
		"a time that is no number": {"WATCHDOG_USEC": "soon"},
		"no time":                  {"WATCHDOG_USEC": "0"},
		"a time without end":       {"WATCHDOG_USEC": "9223372036854775807"},
	} {
		if limit, ok := watchdogLimit(ui.Env{Getenv: func(n string) string { return vars[n] }}); ok {
			t.Errorf("%s: a sign is given within %s", name, limit)
		}
	}
}

func TestWhatAnswersIsWell(t *testing.T) {
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	well := Answers(s.URL)
	if err := well(t.Context()); err != nil {
		t.Error(err)
	}
	status = http.StatusInternalServerError
	if well(t.Context()) == nil {
		t.Error("a server that fails is well")
	}
	s.Close()
	if well(t.Context()) == nil {
		t.Error("a server that is gone is well")
	}
}
