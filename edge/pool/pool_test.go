package pool

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/probe"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// turn is a packet, and what is answered after a while.
type turn struct {
	name  string
	after time.Duration
	do    func(f *testFarm, e edge)
	in    packet
	want  string // a part of it
}

// play plays a story with one edge and ten addresses.
func play(t *testing.T, in *kilnv1.RoomCommand, turns []turn, change ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newTestFarm(t, in)
		e := newEdge(t, f, "edge1", change...)
		for _, c := range turns {
			time.Sleep(c.after)
			if c.do != nil {
				c.do(f, e)
			}
			if c.in.message == 0 {
				continue
			}
			if c.in.mac == "" {
				c.in.mac = pcMAC
			}
			if got := e.ask(t, c.in); !strings.Contains(got, c.want) {
				t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			}
		}
		e.end()
	})
}

func one() *kilnv1.RoomCommand { return room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.10")) }

const (
	otherMAC = "52:54:00:77:00:02"
	us       = "10.1.0.2"
	ten      = "10.1.0.10"
)

func away(f *testFarm, e edge)        { f.cut(false, e.Pool) }
func back(f *testFarm, e edge)        { f.heal(e.Pool) }
func lostAnswers(f *testFarm, _ edge) { f.cut(true) }

func TestTheLifeOfALease(t *testing.T) {
	dora := []turn{
		{name: "DISCOVER", in: packet{message: discover, xid: 1}, want: "10.1.0.10/24 for 1h0m0s"},
		{name: "REQUEST", in: packet{message: request, xid: 1, asked: ten, server: us}, want: "bound 10.1.0.10/24 for 1h0m0s"},
	}
	then := func(more ...turn) []turn { return append(append([]turn{}, dora...), more...) }
	for _, c := range []struct {
		name  string
		turns []turn
	}{
		{"firmware and iPXE get a short time, and the same address whatever client id they send", then(
			turn{name: "firmware", in: packet{message: discover, xid: 2, class: "PXEClient", clientID: "\x00abc"}, want: "10.1.0.10/24 for 10m0s"},
			turn{name: "its REQUEST", in: packet{message: request, xid: 2, class: "PXEClient", asked: ten, server: us}, want: "bound 10.1.0.10/24 for 10m0s"},
		)},
		{"a pool of one address is another's when it has run out", then(
			turn{name: "at once", in: packet{message: discover, mac: otherMAC, xid: 2}, want: "silent: there is no free address"},
			turn{name: "after the time that was told", after: time.Hour + time.Second, in: packet{message: discover, mac: otherMAC, xid: 3}, want: "silent: there is no free address"},
			turn{name: "after the time that was committed", after: 3 * time.Minute, in: packet{message: discover, mac: otherMAC, xid: 4}, want: "10.1.0.10/24"},
			turn{name: "its REQUEST", in: packet{message: request, mac: otherMAC, xid: 4, asked: ten, server: us}, want: "bound 10.1.0.10/24"},
			turn{name: "the first one renews", in: packet{message: request, xid: 5, ciaddr: ten, to: us}, want: "NAK 10.1.0.10 is another's"},
		)},
		{"it renews", then(
			turn{name: "RENEWING", after: 30 * time.Minute, in: packet{message: request, xid: 2, ciaddr: ten, to: us}, want: "bound 10.1.0.10/24 for 1h0m0s"},
			turn{name: "REBINDING", after: 50 * time.Minute, in: packet{message: request, xid: 3, ciaddr: ten}, want: "bound 10.1.0.10/24 for 1h0m0s"},
			turn{name: "INIT-REBOOT", after: time.Minute, in: packet{message: request, xid: 4, asked: ten}, want: "bound 10.1.0.10/24 for 1h0m0s"},
			turn{name: "INIT-REBOOT elsewhere", after: time.Minute, in: packet{message: request, xid: 5, asked: "10.9.0.1"}, want: "NAK 10.9.0.1 is not of this network"},
			turn{name: "INIT-REBOOT with another address", after: time.Minute, in: packet{message: request, xid: 6, asked: "10.1.0.77"}, want: "NAK your address is 10.1.0.10"},
		)},
		{"a release makes it free, and the client is remembered", then(
			turn{name: "RELEASE", after: time.Minute, in: packet{message: release, xid: 2, ciaddr: ten, server: us}, want: "silent: the address is given back"},
			turn{name: "again", in: packet{message: release, xid: 2, ciaddr: ten, server: us}, want: "silent: it does not have"},
			turn{name: "DISCOVER", in: packet{message: discover, xid: 3}, want: "10.1.0.10/24"},
			turn{name: "another's", after: 31 * time.Second, in: packet{message: discover, mac: otherMAC, xid: 4}, want: "10.1.0.10/24"},
		)},
		{"a declined address is nobody's for a while", then(
			turn{name: "DECLINE", in: packet{message: decline, xid: 2, asked: ten, server: us}, want: "silent: the address is given back"},
			turn{name: "its DISCOVER", in: packet{message: discover, xid: 3}, want: "silent: there is no free address"},
			turn{name: "another's, later", after: 9 * time.Minute, in: packet{message: discover, mac: otherMAC, xid: 4}, want: "silent: there is no free address"},
			turn{name: "another's, much later", after: 2 * time.Minute, in: packet{message: discover, mac: otherMAC, xid: 5}, want: "10.1.0.10/24"},
		)},
		{"an offer that another server's is preferred to is free at once", []turn{
			{name: "DISCOVER", in: packet{message: discover, xid: 1}, want: "10.1.0.10/24"},
			{name: "another client's", in: packet{message: discover, mac: otherMAC, xid: 2}, want: "silent: all free addresses are offered to others"},
			{name: "it takes another server's", in: packet{message: request, xid: 1, asked: "10.1.0.99", server: "10.1.0.3"}, want: "silent: it has chosen another server"},
			{name: "another client's", in: packet{message: discover, mac: otherMAC, xid: 3}, want: "10.1.0.10/24"},
		}},
		{"an offer that nobody comes for is another's after a while", []turn{
			{name: "DISCOVER", in: packet{message: discover, xid: 1}, want: "10.1.0.10/24"},
			{name: "another client's", after: time.Second, in: packet{message: discover, mac: otherMAC, xid: 2}, want: "silent: all free addresses are offered to others"},
			{name: "the same later", after: 4 * time.Second, in: packet{message: discover, mac: otherMAC, xid: 3}, want: "10.1.0.10/24"},
		}},
		{"the farm is away", then(
			turn{name: "a renewal gets what remains", after: 30 * time.Minute, do: away, in: packet{message: request, xid: 2, ciaddr: ten, to: us}, want: "bound 10.1.0.10/24 for 32m2"},
			turn{name: "after a restart, too", in: packet{message: request, xid: 3, asked: ten}, want: "bound 10.1.0.10/24 for 32m2"},
			turn{name: "but not by a new offer: it may have given it back elsewhere", in: packet{message: discover, xid: 4}, want: "silent: the farm is away"},
			turn{name: "which it cannot take", in: packet{message: request, xid: 4, asked: ten, server: us}, want: "silent: the farm is away"},
			turn{name: "nobody new gets one", in: packet{message: discover, mac: otherMAC, xid: 4}, want: "silent: the farm lends no addresses now"},
			turn{name: "nobody takes one over", in: packet{message: request, mac: otherMAC, xid: 4, asked: ten}, want: "silent: the farm is away"},
			turn{name: "less remains later", after: 30 * time.Minute, in: packet{message: request, xid: 5, ciaddr: ten, to: us}, want: "bound 10.1.0.10/24 for 2m2"},
			turn{name: "nothing remains", after: 3 * time.Minute, in: packet{message: request, xid: 6, ciaddr: ten, to: us}, want: "silent: the farm is away"},
			turn{name: "the farm is back", after: time.Second, do: back, in: packet{message: request, xid: 7, ciaddr: ten, to: us}, want: "bound 10.1.0.10/24 for 1h0m0s"},
		)},
		{"answers of the farm are lost", []turn{
			{name: "DISCOVER", in: packet{message: discover, xid: 1}, want: "10.1.0.10/24"},
			{name: "REQUEST", do: lostAnswers, in: packet{message: request, xid: 1, asked: ten, server: us}, want: "silent: the farm is away"},
			{name: "the same later", after: time.Second, do: back, in: packet{message: request, xid: 1, asked: ten, server: us}, want: "bound 10.1.0.10/24"},
		}},
		{"INFORM", []turn{
			{name: "of its own address", in: packet{message: informs, ciaddr: "10.1.0.200"}, want: "10.1.0.0/24 for 0s"},
		}},
		{"too many packets of a client", []turn{
			{in: packet{message: discover}}, {in: packet{message: discover}}, {in: packet{message: discover}}, {in: packet{message: discover}},
			{in: packet{message: discover}}, {in: packet{message: discover}}, {in: packet{message: discover}}, {in: packet{message: discover}},
			{in: packet{message: discover}}, {in: packet{message: discover}}, {in: packet{message: discover}}, {in: packet{message: discover}},
			{in: packet{message: discover}}, {in: packet{message: discover}}, {in: packet{message: discover}}, {in: packet{message: discover}},
			{name: "the next", in: packet{message: discover}, want: "silent: too many packets: limit of client"},
			{name: "another client's", in: packet{message: discover, mac: otherMAC}, want: "silent: all free addresses are offered to others"},
			{name: "later", after: 5 * time.Second, in: packet{message: discover}, want: "10.1.0.10/24"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) { play(t, one(), c.turns) })
	}
}

// usedBy finds addresses in use.
type usedBy struct {
	mu    sync.Mutex
	used  map[netip.Addr]bool
	asked []string
}

func (u *usedBy) Used(ctx context.Context, a netip.Addr, nic string, relayed bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, a.String())
	if u.used[a] {
		time.Sleep(10 * time.Millisecond)
		return true
	}
	time.Sleep(probe.Default)
	return false
}

func TestAddressesInUseAreNotOffered(t *testing.T) {
	u := &usedBy{used: map[netip.Addr]bool{netip.MustParseAddr(ten): true}}
	var told []string
	play(t, room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.11")), []turn{
		{name: "it asks for the one in use", in: packet{message: discover, asked: ten}, want: "10.1.0.11/24"},
		{name: "it asks again", in: packet{message: discover, asked: ten, xid: 1}, want: "10.1.0.11/24"},
		{name: "another gets none", in: packet{message: discover, mac: otherMAC, asked: ten}, want: "silent"},
		{name: "it takes its own", in: packet{message: request, asked: "10.1.0.11", server: us, xid: 1}, want: "bound 10.1.0.11/24"},
		{name: "and is not asked after any more", after: 2 * time.Minute, in: packet{message: discover, xid: 2}, want: "10.1.0.11/24"},
		{name: "the other is tried later", after: 10 * time.Minute, do: func(*testFarm, edge) { u.used = nil }, in: packet{message: discover, mac: otherMAC}, want: "10.1.0.10/24"},
	}, func(cfg *Config) {
		cfg.Prober = u
		cfg.Tell = func(mac, what string) { told = append(told, what) }
	})
	if got := strings.Join(u.asked, " "); got != "10.1.0.10 10.1.0.11 10.1.0.10" {
		t.Errorf("asked after %s", got)
	}
	if len(told) != 1 || !strings.Contains(told[0], "10.1.0.10 of subnet a should be free, and somebody uses it") {
		t.Errorf("got the events %q", told)
	}
}

func TestStrangersLeaveAddressesToMachinesThatAreDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := room(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.19"))
		for _, n := range []string{"1", "2"} {
			in.Machines = append(in.Machines, &kilnv1.Machine{Name: "m" + n, Macs: []string{"52:54:00:00:00:0" + n}})
		}
		f := newTestFarm(t, in)
		e := newEdge(t, f, "edge1")
		got := 0
		for i := range 200 {
			mac := "02:00:00:00:" + hex(i>>8) + ":" + hex(i)
			if a := e.ask(t, packet{message: discover, mac: mac, xid: 1}); strings.HasPrefix(a, "10.1.0.") {
				address, _, _ := strings.Cut(a, "/")
				if strings.HasPrefix(e.ask(t, packet{message: request, mac: mac, xid: 1, asked: address, server: us}), "bound") {
					got++
				}
			}
			time.Sleep(time.Second)
		}
		if got != 8 {
			t.Errorf("%d strangers got addresses, want 8", got)
		}
		for i, m := range in.Machines {
			c := packet{message: discover, mac: m.GetMacs()[0], xid: 1}.classify(t, own)
			if a := show(e.Decide(t.Context(), c, m, "")); !strings.HasPrefix(a, "10.1.0.") {
				t.Errorf("machine %d: got %s", i, a)
			}
		}
		e.end()
	})
}

func hex(n int) string { return string("0123456789abcdef"[n>>4&15]) + string("0123456789abcdef"[n&15]) }

func TestManyGoIntoOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFarm(t, room(subnetOf("a", "10.1.0.0/16", "10.1.1.0-10.1.8.255")))
		f.delay = func() time.Duration { return 5 * time.Millisecond }
		e := newEdge(t, f, "edge1")
		calls := f.calls
		commands := f.commands
		var all sync.WaitGroup
		for i := range 200 {
			for range 2 { // each is sent twice
				all.Go(func() {
					mac := "02:00:00:00:" + hex(i>>8) + ":" + hex(i)
					address := netip.AddrFrom4([4]byte{10, 1, byte(1 + i>>8), byte(i)}).String()
					if got := e.ask(t, packet{message: request, mac: mac, xid: 1, asked: address, server: us}); !strings.HasPrefix(got, "bound "+address) {
						t.Errorf("got %s", got)
					}
				})
			}
		}
		all.Wait()
		e.end()
		if f.calls-calls > 3 || f.commands-commands != 200 {
			t.Errorf("%d calls with %d commands", f.calls-calls, f.commands-commands)
		}
	})
}

func TestARestartWithoutTheFarm(t *testing.T) {
	if bootID() == "" {
		t.Skip("SKIPPED: this host does not tell its boots apart")
	}
	synctest.Test(t, func(t *testing.T) {
		f := newTestFarm(t, one())
		time.Sleep(time.Hour)
		file := filepath.Join(t.TempDir(), "bindings")
		kept := func(cfg *Config) { cfg.File = file }
		e := newEdge(t, f, "edge1", kept)
		e.ask(t, packet{message: discover, xid: 1})
		e.ask(t, packet{message: request, xid: 1, asked: ten, server: us})
		if err := e.save(); err != nil {
			t.Fatal(err)
		}
		f.cut(false, e.Pool)
		time.Sleep(10 * time.Minute)
		again := New(Config{Edge: "edge1", Farm: farmOf{f, "edge1"}, File: file, Clock: e.now})
		again.Set(f.state.Intent())
		e2 := edge{again, f, e.own, nil}
		if got := e2.ask(t, packet{message: request, xid: 2, ciaddr: ten, to: us}); !strings.HasPrefix(got, "bound 10.1.0.10/24 for 52m") {
			t.Errorf("got %s", got)
		}
		earlier := New(Config{Edge: "edge1", Farm: farmOf{f, "edge1"}, File: file, Clock: func() time.Duration { return e.now() - time.Hour }})
		earlier.Set(f.state.Intent())
		if got := (edge{earlier, f, e.own, nil}).ask(t, packet{message: request, xid: 2, ciaddr: ten, to: us}); !strings.HasPrefix(got, "silent") {
			t.Errorf("by a clock that has gone back: got %s", got)
		}
		e.end()
		again.commits.Wait()
		earlier.commits.Wait()
	})
}

func TestADeclineThatWaitedAtAnEdgeTakesNothingThatAnotherHasGivenSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFarm(t, one())
		stopped, other := newEdge(t, f, "edge1"), newEdge(t, f, "edge2")
		for i, s := range []struct {
			at    edge
			after time.Duration
			in    packet
			want  string
		}{
			{stopped, 0, packet{message: discover, xid: 1}, "10.1.0.10/24 for 1h0m0s"},
			{stopped, 0, packet{message: request, xid: 1, asked: ten, server: us}, "bound 10.1.0.10/24 for 1h0m0s"},
			{other, 10 * time.Second, packet{message: discover, xid: 3}, "10.1.0.10/24 for 1h0m0s"},
			{other, 0, packet{message: request, xid: 3, asked: ten, server: us}, "bound 10.1.0.10/24 for 1h0m0s"},
			{stopped, 10 * time.Second, packet{message: decline, xid: 2, asked: ten, server: us}, "silent: it has got the address from another edge since"},
			{stopped, 0, packet{message: request, xid: 4, asked: ten}, "bound 10.1.0.10/24 for 1h0m0s"},
			{stopped, 0, packet{message: decline, xid: 5, asked: ten, server: us}, "silent: the address is given back"},
			{other, time.Second, packet{message: request, xid: 6, asked: ten}, "NAK"},
		} {
			time.Sleep(s.after)
			if got := s.at.ask(t, s.in); !strings.HasPrefix(got, s.want) {
				t.Errorf("step %d, %s: got %q, want %q", i, s.in.message, got, s.want)
			}
		}
		stopped.end()
		other.end()
	})
}
