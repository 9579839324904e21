package state

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// lab6 is a farm with a subnet of IPv6 whose pool has no end.
func lab6(t testing.TB) *lab {
	l := &lab{t: t, m: governed(), steady: 1000}
	l.room(&kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "a", Prefix: "fd00::/64", Pools: []*kilnv1.AddressRange{{From: "fd00::", To: "fd00::ffff:ffff:ffff:ffff"}}}}}, "")
	return l
}

func (l *lab) forget(b *kilnv1.Binding) Result {
	return l.apply(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{Operation: forgetOp, Subnet: b.GetSubnet(), Address: b.GetAddress(), Client: b.GetClient(), UntilMs: b.GetUntilMs()}}})
}

func TestWhatIsForgotten(t *testing.T) {
	l := lab6(t)
	l.do(bindOp, "held", "fd00::1", 1000)
	l.do(bindOp, "released", "fd00::2", 1000)
	l.do(releaseOp, "released", "fd00::2", 0)
	l.do(bindOp, "declined", "fd00::3", 1000)
	l.do(declineOp, "declined", "fd00::3", 100)
	l.do(bindOp, "over", "fd00::4", 100)
	l.do(bindOp, "again", "fd00::5", 100)
	l.steady += 200
	stale := l.m.Binding("a", netip.MustParseAddr("fd00::5"))
	l.do(bindOp, "again", "fd00::5", 100)
	l.steady += 100
	l.do(releaseOp, "nobody", "fd00::1", 0)
	if over := l.m.Over6(l.steady-50, 10); len(over) != 3 || len(l.m.Over6(l.steady-50, 1)) != 1 || len(l.m.Over6(1000, 10)) != 0 {
		t.Errorf("over are %v", over)
	}
	for _, b := range append(l.m.Bindings(), stale) {
		if r := l.forget(b); r.Refused != "" {
			t.Errorf("%v: %s", b, r.Refused)
		}
	}
	var got []string
	for _, b := range l.m.Bindings() {
		got = append(got, b.GetAddress())
	}
	if want := "[fd00::1]"; fmt.Sprint(got) != want {
		t.Errorf("left are %v, want %s", got, want)
	}
	if len(l.m.addresses.byClient) != 1 || l.m.addresses.count6["a"] != 1 {
		t.Errorf("left are %v and %v", l.m.addresses.byClient, l.m.addresses.count6)
	}
	stale.UntilMs++
	if r := l.forget(stale); r.Refused != "" {
		t.Errorf("what there is not: %s", r.Refused)
	}
}

// A binding that was renewed since somebody saw that it was over is not forgotten.
func TestWhatIsNewerIsNotForgotten(t *testing.T) {
	l := lab6(t)
	l.do(bindOp, "x", "fd00::1", 100)
	l.steady += 100
	l.do(bindOp, "x", "fd00::1", 0)
	seen := l.m.Binding("a", netip.MustParseAddr("fd00::1"))
	l.steady += 10
	l.do(bindOp, "x", "fd00::1", 5)
	l.steady += 10
	l.forget(seen)
	if l.show("fd00::1") != "mac x bound 1115" {
		t.Errorf("there is %q", l.show("fd00::1"))
	}
}

func TestASubnetOfIPv6HasSoManyBindings(t *testing.T) {
	for _, level := range []uint32{bindLevel, sixLevel} {
		l := lab6(t)
		l.m.level = level
		address := netip.MustParseAddr("fd00::1000")
		for i := range MaxBindings6 {
			if r := l.do(bindOp, fmt.Sprint(i), address.String(), 100); r.Refused != "" {
				t.Fatalf("binding %d: %s", i, r.Refused)
			}
			address = address.Next()
		}
		want := map[uint32]Refusal{bindLevel: "", sixLevel: RefusedFull}[level] // as older programs apply it
		if r := l.do(bindOp, "x", "fd00::1", 100); r.Refused != want {
			t.Errorf("level %d, one more: %q, want %q", level, r.Refused, want)
		}
		if r := l.do(bindOp, "7", "fd00::1007", 100); r.Refused != "" {
			t.Errorf("level %d, a renewal: %q", level, r.Refused)
		}
		again, err := Restore(bytes.NewReader(snapshotOf(t, l.m)))
		if err != nil {
			t.Fatal(err)
		}
		if l.m = again; l.do(bindOp, "y", "fd00::2", 100).Refused != want {
			t.Errorf("level %d: it is another state after a snapshot", level)
		}
		l.steady += 200
		l.do(releaseOp, "nobody", "fd00::1", 0)
		if over := l.m.Over6(0, 100); len(over) != 100 { // it is more than half full
			t.Errorf("level %d: %d bindings are to be forgotten, want 100", level, len(over))
		} else if level == sixLevel {
			l.forget(over[0])
			if r := l.do(bindOp, "y", "fd00::2", 100); r.Refused != "" {
				t.Errorf("after one was forgotten: %q", r.Refused)
			}
		}
	}
}

func TestForgettingNeedsItsLevel(t *testing.T) {
	l := lab6(t)
	l.m.level = bindLevel
	if r := l.m.Apply(&kilnv1.Entry{Level: bindLevel, Commands: []*kilnv1.Command{{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{Operation: forgetOp}}}}}).Results[0]; r.Refused != RefusedLevel {
		t.Errorf("refused %q, want %q", r.Refused, RefusedLevel)
	}
}
