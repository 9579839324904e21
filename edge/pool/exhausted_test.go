package pool

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// sayings of one pool, in their order, without times.
func saidOf(log *bytes.Buffer) string {
	var out []string
	for line := range strings.Lines(log.String()) {
		for _, words := range []string{"a pool is exhausted", "a pool that was exhausted has room again", "free addresses of a pool are all offered"} {
			if strings.Contains(line, words) {
				out = append(out, words)
			}
		}
	}
	return strings.Join(out, ", ")
}

func TestAPoolIsSaidToBeExhaustedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFarm(t, room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.13")))
		var log bytes.Buffer
		var told []string
		e := newEdge(t, f, "edge1", func(cfg *Config) {
			cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
			cfg.Tell = func(_, what string) { told = append(told, what) }
		})
		client := func(n int) string { return fmt.Sprintf("02:00:00:00:%02x:%02x", n>>8, n&255) }
		dora := func(n int) bool {
			a := e.ask(t, packet{message: discover, mac: client(n), xid: 1})
			if !strings.HasPrefix(a, "10.1.0.") {
				return false
			}
			address, _, _ := strings.Cut(a, "/")
			return strings.HasPrefix(e.ask(t, packet{message: request, mac: client(n), xid: 1, asked: address, server: us}), "bound")
		}
		// Offers that nobody comes for exhaust nothing.
		for n := range 30 {
			e.ask(t, packet{message: discover, mac: client(100 + n), xid: 1})
		}
		if got, want := saidOf(&log), "free addresses of a pool are all offered"; got != want {
			t.Fatalf("in a flood: %q, want %q", got, want)
		}
		time.Sleep(time.Minute)
		log.Reset()
		for n := range 4 {
			if !dora(n) {
				t.Fatalf("client %d got no address", n)
			}
		}
		for n := range 200 { // of ten minutes
			if dora(10 + n) {
				t.Fatalf("there are four addresses, and client %d got one, too", 10+n)
			}
			time.Sleep(3 * time.Second)
		}
		if got, want := saidOf(&log), "a pool is exhausted"; got != want {
			t.Errorf("while it is: %q, want %q", got, want)
		}
		if want := "no address is free in subnet a"; len(told) != 1 || !strings.Contains(told[0], want) {
			t.Errorf("told %q, want %q once", told, want)
		}
		e.ask(t, packet{message: release, mac: client(0), xid: 3, ciaddr: f.addressOf(client(0)), server: us})
		time.Sleep(2 * countEvery)
		if got, want := saidOf(&log), "a pool is exhausted, a pool that was exhausted has room again"; got != want {
			t.Errorf("after a release: %q, want %q", got, want)
		}
		for n := range 10 { // it is exhausted and has room in turns, within the minute: that is not told
			if !dora(0) {
				t.Fatal("the address that was given back is not given")
			}
			dora(300 + n)
			time.Sleep(reorder)
			e.ask(t, packet{message: release, mac: client(0), xid: 4, ciaddr: f.addressOf(client(0)), server: us})
			time.Sleep(time.Second)
		}
		if got, want := saidOf(&log), "a pool is exhausted, a pool that was exhausted has room again"; got != want {
			t.Errorf("in turns: %q, want %q", got, want)
		}
		dora(0)
		time.Sleep(sayEvery)
		dora(400)
		if got, want := saidOf(&log), "a pool is exhausted, a pool that was exhausted has room again, a pool is exhausted"; got != want {
			t.Errorf("later: %q, want %q", got, want)
		}
		e.end()
	})
}

func TestStrangersExhaustAPoolBeforeMachinesThatAreDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.17"))
		in.Machines = []*kilnv1.Machine{{Name: "m", Macs: []string{"52:54:00:00:00:01"}}, {Name: "fixed", Macs: []string{"52:54:00:00:00:02"}, Address: "10.1.0.17/24"}}
		f := newTestFarm(t, in)
		var log bytes.Buffer
		e := newEdge(t, f, "edge1", func(cfg *Config) { cfg.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		for n := range 12 {
			mac := fmt.Sprintf("02:00:00:00:00:%02x", n)
			if a := e.ask(t, packet{message: discover, mac: mac, xid: 1}); strings.HasPrefix(a, "10.1.0.") {
				address, _, _ := strings.Cut(a, "/")
				e.ask(t, packet{message: request, mac: mac, xid: 1, asked: address, server: us})
			}
			time.Sleep(time.Second)
		}
		if got, want := saidOf(&log), "a pool is exhausted"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := show(e.Decide(t.Context(), packet{message: discover, mac: "52:54:00:00:00:01", xid: 1}.classify(t, own), in.Machines[0], "")); !strings.HasPrefix(got, "10.1.0.") {
			t.Errorf("the machine that is described: %s", got)
		}
		e.end()
	})
}
