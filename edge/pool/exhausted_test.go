package pool

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/decide"
	"github.com/kiln-farm/kiln/internal/seldom"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// sayings of one pool, in their order, without times.
func saidOf(log *bytes.Buffer) string {
	synctest.Wait() // for who writes it
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
		synctest.Wait()
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
			time.Sleep(decide.Reorder)
			e.ask(t, packet{message: release, mac: client(0), xid: 4, ciaddr: f.addressOf(client(0)), server: us})
			time.Sleep(time.Second)
		}
		if got, want := saidOf(&log), "a pool is exhausted, a pool that was exhausted has room again"; got != want {
			t.Errorf("in turns: %q, want %q", got, want)
		}
		dora(0)
		time.Sleep(seldom.Every)
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

// TestAFloodThatComesForNothingStarvesNobody: a hundred forged hardware addresses for each of the pool, without end.
func TestAFloodThatComesForNothingStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.19"))
		in.Machines = []*kilnv1.Machine{{Name: "m", Macs: []string{"52:54:00:00:00:01"}}}
		e := newEdge(t, newTestFarm(t, in), "edge1")
		forged := 0
		flood := func(n int) {
			for range n {
				forged++
				e.ask(t, packet{message: discover, mac: fmt.Sprintf("0e:00:00:%02x:%02x:%02x", forged>>16, forged>>8&255, forged&255), xid: 1})
				time.Sleep(500 * time.Microsecond)
			}
		}
		flood(1000)
		for n := range 8 { // the last address but one is the described machine's
			client := fmt.Sprintf("02:00:00:00:00:%02x", n)
			got := ""
			for range 4 { // as firmware does: after 4, 8, 16 s
				if got = e.ask(t, packet{message: discover, mac: client, xid: 1}); strings.HasPrefix(got, "10.1.0.") {
					break
				}
				flood(4000)
			}
			if !strings.HasPrefix(got, "10.1.0.") {
				t.Errorf("client %d was offered nothing: %s", n, got)
				continue
			}
			flood(20) // before it comes for it
			address, _, _ := strings.Cut(got, "/")
			if got := e.ask(t, packet{message: request, mac: client, xid: 1, asked: address, server: us}); !strings.HasPrefix(got, "bound "+address) {
				t.Errorf("client %d was offered %s: %s", n, address, got)
			}
		}
		if got := show(e.Decide(t.Context(), packet{message: discover, mac: "52:54:00:00:00:01", xid: 1}.classify(t, own), in.Machines[0], "")); !strings.HasPrefix(got, "10.1.0.") {
			t.Errorf("the machine that is described: %s", got)
		}
		e.end()
	})
}

func TestAnAddressThatBecomesAMachinesOwnIsOfferedToNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFarm(t, room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.12")))
		e := newEdge(t, f, "edge1")
		offered := e.ask(t, packet{message: discover, asked: "10.1.0.11", xid: 1}) // the block has all three, and this one is promised
		if !strings.HasPrefix(offered, "10.1.0.11/24") {
			t.Fatalf("got %s", offered)
		}
		f.mu.Lock()
		change := &kilnv1.RoomCommand{Base: f.state.RoomRevision(), Machines: []*kilnv1.Machine{{Name: "m", Macs: []string{"52:54:00:00:00:01"}, Address: "10.1.0.11/24"},
			{Name: "n", Macs: []string{"52:54:00:00:00:02"}, Address: "10.1.0.12/24"}}}
		refused := f.apply(&kilnv1.Command{Command: &kilnv1.Command_Room{Room: change}})[0].Refused
		in := f.state.Intent()
		f.mu.Unlock()
		if refused != "" {
			t.Fatal(refused)
		}
		e.Set(in)
		for _, c := range []struct {
			name string
			in   packet
			want string
		}{
			{"who was promised it", packet{message: request, xid: 1, asked: "10.1.0.11", server: us}, "NAK 10.1.0.11 is another's"},
			{"it asks anew", packet{message: discover, xid: 2}, "10.1.0.10/24"},
			{"another asks for the other one", packet{message: discover, mac: otherMAC, asked: "10.1.0.12", xid: 3}, "silent"},
			{"and takes it", packet{message: request, mac: otherMAC, asked: "10.1.0.12", xid: 3}, "NAK 10.1.0.12 is another's"},
		} {
			if got := e.ask(t, c.in); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: got %s, want %s", c.name, got, c.want)
			}
		}
		e.end()
	})
}

func TestMalformedOption82(t *testing.T) {
	for _, c := range []struct {
		name  string
		relay []byte
		want  string
	}{
		{"a suboption that is longer than the option", []byte{5, 9, 10}, "10.2.0.10/24"},
		{"a link selection of one byte", []byte{5, 1, 10}, "10.2.0.10/24"},
		{"a link selection of everybody", []byte{5, 4, 255, 255, 255, 255}, "10.2.0.10/24"},
		{"half a suboption", []byte{1, 2, 'a', 'b', 5}, "10.2.0.10/24"},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.10"), subnetOf("b", "10.2.0.0/24", "10.2.0.10-10.2.0.10")), []turn{
				{name: "DISCOVER", in: packet{message: discover, giaddr: "10.2.0.1", relay: c.relay, xid: 1}, want: c.want},
				{name: "the same without", in: packet{message: discover, giaddr: "10.2.0.1", xid: 2}, want: "10.2.0.10/24"},
			})
		})
	}
}

// TestMachinesOfOtherSubnetsNeedNothingHere: what is left to machines that are described is for those that have no address.
func TestMachinesOfOtherSubnetsNeedNothingHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.17"), subnetOf("b", "10.2.0.0/24", "10.2.0.10-10.2.0.99"))
		for n := range 30 {
			in.Machines = append(in.Machines, &kilnv1.Machine{Name: fmt.Sprint("m", n), Macs: []string{fmt.Sprintf("52:54:00:00:00:%02x", n)}})
		}
		e := newEdge(t, newTestFarm(t, in), "edge1", func(cfg *Config) { cfg.Edges = func() int { return 3 } })
		for n, m := range in.Machines {
			address := fmt.Sprintf("10.2.0.%d", 20+n)
			c := packet{message: request, mac: m.GetMacs()[0], xid: 1, asked: address, giaddr: "10.2.0.1"}.classify(t, own)
			if got := show(e.Decide(t.Context(), c, m, "")); !strings.HasPrefix(got, "bound "+address) {
				t.Fatalf("machine %d: %s", n, got)
			}
		}
		for n := range 8 {
			mac := fmt.Sprintf("02:00:00:00:00:%02x", n)
			got := e.ask(t, packet{message: discover, mac: mac, xid: 1})
			if !strings.HasPrefix(got, "10.1.0.") {
				t.Errorf("stranger %d: %s", n, got)
				continue
			}
			address, _, _ := strings.Cut(got, "/")
			if got := e.ask(t, packet{message: request, mac: mac, xid: 1, asked: address, server: us}); !strings.HasPrefix(got, "bound 10.1.0.") {
				t.Errorf("stranger %d: %s", n, got)
			}
			time.Sleep(time.Second)
		}
		e.end()
	})
}

// TestWhoComesLateLeavesTheLastAddresses: strangers that were offered all addresses, one after the other as each asks again and again,
// come for all of them in the end.
func TestWhoComesLateLeavesTheLastAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.17"))
		in.Machines = []*kilnv1.Machine{{Name: "m", Macs: []string{"52:54:00:00:00:01"}}}
		e := newEdge(t, newTestFarm(t, in), "edge1")
		defer e.end()
		offers := map[string]string{} // by client, the last one
		for range 3 {
			for n := range 12 {
				client := fmt.Sprintf("02:00:00:00:00:%02x", n)
				if got := e.ask(t, packet{message: discover, mac: client, xid: 1, secs: 4}); strings.HasPrefix(got, "10.1.0.") {
					offers[client], _, _ = strings.Cut(got, "/")
				}
				time.Sleep(time.Millisecond)
			}
		}
		bound := 0
		for n := range 12 {
			client := fmt.Sprintf("02:00:00:00:00:%02x", n)
			if strings.HasPrefix(e.ask(t, packet{message: request, mac: client, xid: 1, asked: offers[client], server: us}), "bound ") {
				bound++
			}
		}
		if bound < 6 || bound > 7 {
			t.Errorf("%d strangers have an address of 8, of which one is left; want 6 or 7", bound)
		}
		if got := show(e.Decide(t.Context(), packet{message: discover, mac: "52:54:00:00:00:01", xid: 1}.classify(t, own), in.Machines[0], "")); !strings.HasPrefix(got, "10.1.0.") {
			t.Errorf("the machine that is described: %s", got)
		}
	})
}

// TestTheLastAddressesAreRefusedToNobodyWhoHasThem: an edge that has not heard of a binding leaves it to the farm.
func TestTheLastAddressesAreRefusedToNobodyWhoHasThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.13"))
		in.Machines = []*kilnv1.Machine{{Name: "m", Macs: []string{"52:54:00:00:00:01"}}}
		f := newTestFarm(t, in)
		e := newEdge(t, f, "edge1")
		defer e.end()
		last := map[string]bool{"10.1.0.10": true, "10.1.0.11": true, "10.1.0.12": true, "10.1.0.13": true}
		for n := range 4 { // the last is left
			address, _, _ := strings.Cut(e.ask(t, packet{message: discover, mac: fmt.Sprintf("02:00:00:00:01:%02x", n), xid: 1}), "/")
			delete(last, address)
		}
		if len(last) != 1 {
			t.Fatalf("%v are left, want one", last)
		}
		for address := range last { // which its client has from another edge, and comes again for (INIT-REBOOT)
			if got := e.ask(t, packet{message: request, mac: "02:00:00:00:00:01", xid: 2, asked: address}); !strings.HasPrefix(got, "bound "+address) {
				t.Errorf("a client that comes again for %s: %s", address, got)
			}
		}
	})
}
