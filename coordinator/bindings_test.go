package coordinator

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// subnetted is a farm with a subnet of ten addresses.
func subnetted(t *testing.T, f *farm) {
	t.Helper()
	c := &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "rack", Prefix: "10.0.0.0/24", Pools: []*kilnv1.AddressRange{{From: "10.0.0.10", To: "10.0.0.19"}}}}}
	f.wait("the level is raised", func() bool {
		_, err := f.room().Change(f.ctx(), connect.NewRequest(&kilnv1.ChangeRequest{Change: c}))
		return err == nil
	})
}

func bindOf(mac, address string, forMs int64) *kilnv1.BindCommand {
	return &kilnv1.BindCommand{Operation: kilnv1.BindCommand_OPERATION_BIND, Subnet: "rack", Address: address, Client: "mac " + mac, Mac: mac, Edge: "e1", ForMs: forMs}
}

func (f *farm) bind(commands ...*kilnv1.BindCommand) []*kilnv1.BindResult {
	f.t.Helper()
	res, err := f.room().Bind(f.ctx(), connect.NewRequest(&kilnv1.BindRequest{Commands: commands}))
	if err != nil {
		f.t.Fatal(err)
	}
	return res.Msg.GetResults()
}

func TestABindingIsCommittedAndToldToEveryEdge(t *testing.T) {
	f := newFarm(t, t.TempDir())
	subnetted(t, f)
	const hour = int64(time.Hour / time.Millisecond)
	f.bind(bindOf("02:00:00:00:00:01", "10.0.0.10", hour))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream, err := f.room().WatchBindings(ctx, connect.NewRequest(&kilnv1.WatchBindingsRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]*kilnv1.BindingNow{}
	until := func(done func(*kilnv1.WatchBindingsResponse) bool) {
		t.Helper()
		for stream.Receive() {
			for _, b := range stream.Msg().GetBindings() {
				seen[b.GetBinding().GetAddress()] = b
			}
			if done(stream.Msg()) {
				return
			}
		}
		t.Fatal(stream.Err())
	}
	until(func(r *kilnv1.WatchBindingsResponse) bool { return r.GetComplete() })
	if b := seen["10.0.0.10"]; b.GetBinding().GetMac() != "02:00:00:00:00:01" || b.GetRemainingMs() > hour || b.GetRemainingMs() < hour-60_000 {
		t.Errorf("what there is: %v", seen)
	}
	got := f.bind(bindOf("02:00:00:00:00:02", "10.0.0.10", hour), bindOf("02:00:00:00:00:02", "10.0.0.11", hour), bindOf("02:00:00:00:00:01", "10.0.0.12", hour), bindOf("02:00:00:00:00:03", "10.0.0.20", hour))
	for i, want := range []kilnv1.BindVerdict{kilnv1.BindVerdict_BIND_VERDICT_TAKEN, kilnv1.BindVerdict_BIND_VERDICT_DONE, kilnv1.BindVerdict_BIND_VERDICT_ELSEWHERE, kilnv1.BindVerdict_BIND_VERDICT_OUTSIDE} {
		if got[i].GetVerdict() != want {
			t.Errorf("command %d: %v, want %v", i, got[i], want)
		}
	}
	if got[2].GetAddress() != "10.0.0.10" {
		t.Errorf("the other address is %s, want 10.0.0.10", got[2].GetAddress())
	}
	until(func(*kilnv1.WatchBindingsResponse) bool { return seen["10.0.0.11"] != nil })
}

// What was acknowledged is there after a restart, and time that went by without a leader does not count.
func TestBindingsOutliveTheirCoordinator(t *testing.T) {
	f := newFarm(t, t.TempDir())
	subnetted(t, f)
	const life = 2000
	f.bind(bindOf("02:00:00:00:00:01", "10.0.0.10", life))
	var before int64
	f.coord.fsm.View(func(m *state.Machine) { before = m.Steady() })
	f.close()
	time.Sleep(life * time.Millisecond)
	f.start()
	if got := f.bind(bindOf("02:00:00:00:00:02", "10.0.0.10", life)); got[0].GetVerdict() != kilnv1.BindVerdict_BIND_VERDICT_TAKEN {
		t.Errorf("another client gets the address after %d ms without a leader: %v", life, got)
	}
	var after int64
	f.coord.fsm.View(func(m *state.Machine) { after = m.Steady() })
	if after < before || after-before >= life {
		t.Errorf("steady time went from %d to %d ms", before, after)
	}
	f.wait("the binding has run out", func() bool {
		return f.bind(bindOf("02:00:00:00:00:02", "10.0.0.10", life))[0].GetVerdict() == kilnv1.BindVerdict_BIND_VERDICT_DONE
	})
}

// However far the clock on the wall jumps, an address does not run out by it.
func TestAWallClockThatJumpsEndsNoBinding(t *testing.T) {
	f := newFarm(t, t.TempDir())
	f.close()
	var offset atomic.Int64
	f.startWith(func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) } })
	subnetted(t, f)
	const hour = int64(time.Hour / time.Millisecond)
	f.bind(bindOf("02:00:00:00:00:01", "10.0.0.10", hour))
	const jump = 3 * time.Hour
	offset.Store(int64(jump))
	if got := f.bind(bindOf("02:00:00:00:00:02", "10.0.0.10", hour)); got[0].GetVerdict() != kilnv1.BindVerdict_BIND_VERDICT_TAKEN {
		t.Errorf("after a jump of %s: %v", jump, got)
	}
}

func TestEdgesAreLentDifferentAddresses(t *testing.T) {
	f := newFarm(t, "")
	subnetted(t, f)
	grant := func(edge string, size uint32) []string {
		res, err := f.room().Grant(f.ctx(), connect.NewRequest(&kilnv1.GrantRequest{Edge: edge, Subnet: "rack", Size: size}))
		if err != nil {
			t.Fatal(err)
		}
		return res.Msg.GetAddresses()
	}
	one, two, three := grant("e1", 6), grant("e2", 6), grant("e3", 6)
	if len(one) != 6 || len(two) != 4 || len(three) != 0 {
		t.Errorf("lent %v, %v, %v", one, two, three)
	}
	seen := map[string]bool{}
	for _, a := range append(one, two...) {
		if seen[a] {
			t.Errorf("%s was lent twice", a)
		}
		seen[a] = true
	}
	f.bind(bindOf("02:00:00:00:00:01", one[0], 60_000))
	if again := grant("e1", 0); len(again) != 5 {
		t.Errorf("after one is bound, e1 has %v", again)
	}
}
