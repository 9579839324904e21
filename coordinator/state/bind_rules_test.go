package state

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	freeOp    = kilnv1.BindCommand_OPERATION_FREE
	bindOp    = kilnv1.BindCommand_OPERATION_BIND
	releaseOp = kilnv1.BindCommand_OPERATION_RELEASE
	declineOp = kilnv1.BindCommand_OPERATION_DECLINE
	forgetOp  = kilnv1.BindCommand_OPERATION_FORGET
)

// lab is a farm with a subnet of ten addresses, of which one is excluded and one a machine's, and a class with two of its own.
type lab struct {
	t      testing.TB
	m      *Machine
	steady int64
}

func labSubnet(name, net string) *kilnv1.Subnet {
	return &kilnv1.Subnet{
		Name: name, Prefix: net + ".0/24",
		Pools:   []*kilnv1.AddressRange{{From: net + ".10", To: net + ".19"}},
		Exclude: []*kilnv1.AddressRange{{From: net + ".15", To: net + ".15"}},
		Classes: []*kilnv1.ClientClass{{Name: "phones", Pools: []*kilnv1.AddressRange{{From: net + ".30", To: net + ".31"}}}, {Name: "plain"}},
	}
}

func newLab(t testing.TB) *lab {
	l := &lab{t: t, m: governed(), steady: 1000}
	l.room(&kilnv1.RoomCommand{
		Subnets:  []*kilnv1.Subnet{labSubnet("a", "10.0.0"), labSubnet("b", "10.0.1")},
		Machines: []*kilnv1.Machine{{Name: "fixed", Macs: []string{"mac-f", "mac-g"}, Address: "10.0.0.12/24"}, {Name: "described", Macs: []string{"mac-d"}}},
	}, "")
	return l
}

func (l *lab) apply(c *kilnv1.Command) Result {
	return l.m.Apply(&kilnv1.Entry{Level: LevelOf(c), UnixMs: 5, SteadyMs: l.steady, Commands: []*kilnv1.Command{c}}).Results[0]
}

func (l *lab) room(c *kilnv1.RoomCommand, want Refusal) {
	l.t.Helper()
	c.Base = l.m.RoomRevision()
	if r := l.apply(&kilnv1.Command{Command: &kilnv1.Command_Room{Room: c}}); r.Refused != want {
		l.t.Fatalf("the room's change: %q, want %q", r.Refused, want)
	}
}

// do is one operation of a client whose name and MAC are alike: "x" is "mac x" with mac-x.
func (l *lab) do(op kilnv1.BindCommand_Operation, client, address string, forMs int64) Result {
	return l.apply(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{
		Operation: op, Subnet: "a", Address: address, Client: "mac " + client, Mac: "mac-" + client, Edge: "e", Hostname: client, ForMs: forMs,
	}}})
}

func (l *lab) grant(edge, class string, size uint32) []string {
	l.t.Helper()
	r := l.apply(&kilnv1.Command{Command: &kilnv1.Command_Block{Block: &kilnv1.BlockCommand{Edge: edge, Subnet: "a", Class: class, Size: size, ForMs: 1000}}})
	if r.Refused != "" {
		l.t.Fatalf("a block was refused: %s", r.Refused)
	}
	return r.Block.GetAddresses()
}

// show is the binding of an address as "client state until".
func (l *lab) show(address string) string {
	b := l.m.Binding("a", netip.MustParseAddr(address))
	if b == nil {
		return ""
	}
	return strings.ToLower(fmt.Sprintf("%s %s %d", b.GetClient(), strings.TrimPrefix(b.GetState().String(), "BINDING_STATE_"), b.GetUntilMs()))
}

func TestRulesOfBindings(t *testing.T) {
	type step struct {
		after   int64 // of steady time, before it
		op      kilnv1.BindCommand_Operation
		client  string
		address string
		forMs   int64
		refused Refusal
		want    string // what the address's binding is then
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"a free address is bound", []step{{op: bindOp, client: "x", address: "10.0.0.10", forMs: 100, want: "mac x bound 1100"}}},
		{"a renewal is longer", []step{{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"}, {50, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1150"}}},
		{"a shorter renewal keeps the longest promise, and is another binding", []step{{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"}, {50, bindOp, "x", "10.0.0.10", 10, "", "mac x bound 1101"}}},
		{"the same again is another binding", []step{{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"}, {0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1101"}}},
		{"another client waits until its time is over", []step{
			{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"},
			{99, bindOp, "y", "10.0.0.10", 100, RefusedBound, "mac x bound 1100"},
			{1, bindOp, "y", "10.0.0.10", 100, "", "mac y bound 1200"},
			{0, bindOp, "x", "10.0.0.10", 100, RefusedBound, "mac y bound 1200"},
			{0, bindOp, "x", "10.0.0.11", 100, "", "mac x bound 1200"}}},
		{"a released address is free at once", []step{
			{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"},
			{10, releaseOp, "x", "10.0.0.10", 0, "", "mac x released 1010"},
			{0, bindOp, "y", "10.0.0.10", 100, "", "mac y bound 1110"}}},
		{"who released an address gets it again, for the new time only", []step{
			{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"}, {10, releaseOp, "x", "10.0.0.10", 0, "", "mac x released 1010"},
			{0, bindOp, "x", "10.0.0.10", 20, "", "mac x bound 1030"}}},
		{"a machine's address that it gave back is kept for it until its time is over", []step{
			{0, bindOp, "d", "10.0.0.10", 100, "", "mac d bound 1100"}, {10, releaseOp, "d", "10.0.0.10", 0, "", "mac d released 1100"},
			{0, bindOp, "y", "10.0.0.10", 100, RefusedBound, "mac d released 1100"}, {0, bindOp, "d", "10.0.0.11", 100, RefusedElsewhere, ""},
			{0, bindOp, "d", "10.0.0.10", 20, "", "mac d bound 1101"}, {0, releaseOp, "d", "10.0.0.10", 0, "", "mac d released 1101"},
			{91, bindOp, "y", "10.0.0.10", 100, "", "mac y bound 1201"}}},
		{"a machine's address that it declined is nobody's until its time is over", []step{
			{0, bindOp, "d", "10.0.0.10", 100, "", "mac d bound 1100"}, {10, declineOp, "d", "10.0.0.10", 50, "", " declined 1100"},
			{0, bindOp, "d", "10.0.0.11", 100, "", "mac d bound 1110"}, {80, bindOp, "y", "10.0.0.10", 100, RefusedBound, " declined 1100"},
			{10, bindOp, "y", "10.0.0.10", 100, "", "mac y bound 1200"}}},
		{"an edge that had not heard that a machine declined its address acknowledged it again", []step{
			{0, bindOp, "d", "10.0.0.10", 100, "", "mac d bound 1100"}, {10, declineOp, "d", "10.0.0.10", 50, "", " declined 1100"},
			{50, bindOp, "d", "10.0.0.10", 100, "", "mac d bound 1160"}}},
		{"an administrator frees what is bound, kept or declined", []step{
			{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"}, {0, freeOp, "", "10.0.0.10", 0, "", "mac x released 1000"},
			{0, bindOp, "y", "10.0.0.10", 100, "", "mac y bound 1100"},
			{0, bindOp, "d", "10.0.0.11", 100, "", "mac d bound 1100"}, {0, releaseOp, "d", "10.0.0.11", 0, "", "mac d released 1100"},
			{0, freeOp, "", "10.0.0.11", 0, "", "mac d released 1000"}, {0, bindOp, "z", "10.0.0.11", 100, "", "mac z bound 1100"},
			{0, bindOp, "v", "10.0.0.13", 100, "", "mac v bound 1100"}, {0, declineOp, "v", "10.0.0.13", 50, "", " declined 1050"},
			{0, freeOp, "", "10.0.0.13", 0, "", " released 1000"}, {0, bindOp, "w", "10.0.0.13", 100, "", "mac w bound 1100"},
			{0, freeOp, "", "10.0.0.14", 0, "", ""}, {100, freeOp, "", "10.0.0.13", 0, "", "mac w bound 1100"}}},
		{"only the holder releases", []step{{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"}, {0, releaseOp, "y", "10.0.0.10", 0, "", "mac x bound 1100"},
			{0, releaseOp, "y", "10.0.0.11", 0, "", ""}}},
		{"only the holder declines", []step{
			{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"},
			{0, declineOp, "y", "10.0.0.10", 50, "", "mac x bound 1100"},
			{0, declineOp, "y", "10.0.0.11", 50, "", ""},
			{0, declineOp, "x", "10.0.0.10", 50, "", " declined 1050"},
			{0, declineOp, "x", "10.0.0.10", 500, "", " declined 1050"}}},
		{"nobody gets a declined address for a while, not even who declined", []step{
			{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"}, {0, declineOp, "x", "10.0.0.10", 50, "", " declined 1050"},
			{0, bindOp, "x", "10.0.0.10", 100, RefusedBound, " declined 1050"}, {0, bindOp, "x", "10.0.0.11", 100, "", "mac x bound 1100"},
			{49, bindOp, "y", "10.0.0.10", 100, RefusedBound, " declined 1050"}, {1, bindOp, "y", "10.0.0.10", 100, "", "mac y bound 1150"}}},
		{"who has run out declines nothing", []step{{0, bindOp, "x", "10.0.0.10", 10, "", "mac x bound 1010"}, {10, declineOp, "x", "10.0.0.10", 50, "", "mac x bound 1010"}}},
		{"a client has one address", []step{
			{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"}, {0, bindOp, "x", "10.0.0.11", 100, RefusedElsewhere, ""},
			{100, bindOp, "x", "10.0.0.11", 100, "", "mac x bound 1200"}, {0, bindOp, "y", "10.0.0.10", 10, "", "mac y bound 1110"}}},
		{"who moved after a release is remembered at one place", []step{
			{0, bindOp, "x", "10.0.0.10", 100, "", "mac x bound 1100"}, {0, releaseOp, "x", "10.0.0.10", 0, "", "mac x released 1000"},
			{0, bindOp, "x", "10.0.0.11", 100, "", "mac x bound 1100"}, {0, releaseOp, "x", "10.0.0.10", 0, "", ""}}},
		{"addresses outside of pools", []step{{0, bindOp, "x", "10.0.0.9", 100, RefusedOutside, ""}, {0, bindOp, "x", "10.0.1.10", 100, RefusedOutside, ""}, {0, bindOp, "x", "fd00::1", 100, RefusedOutside, ""}}},
		{"an excluded address", []step{{0, bindOp, "x", "10.0.0.15", 100, RefusedOutside, ""}}},
		{"an address of a class's pool", []step{{0, bindOp, "x", "10.0.0.31", 100, "", "mac x bound 1100"}}},
		{"an address that is reserved for a machine", []step{{0, bindOp, "x", "10.0.0.12", 100, RefusedBound, ""}, {0, bindOp, "f", "10.0.0.12", 100, "", "mac f bound 1100"},
			{0, bindOp, "g", "10.0.0.12", 100, RefusedBound, "mac f bound 1100"}, {100, bindOp, "g", "10.0.0.12", 100, "", "mac g bound 1200"}}},
		{"what is not valid", []step{{0, bindOp, "x", "10.0.0.10%eth0", 100, RefusedInvalid, ""}, {0, bindOp, "x", "nonsense", 100, RefusedInvalid, ""},
			{0, bindOp, "x", "10.0.0.10", -1, RefusedInvalid, ""}, {0, bindOp, "x", "10.0.0.10", maxForMs + 1, RefusedInvalid, ""},
			{0, bindOp, strings.Repeat("x", maxID), "10.0.0.10", 1, RefusedInvalid, ""}, {0, 0, "x", "10.0.0.10", 1, RefusedInvalid, ""}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			for i, s := range c.steps {
				l.steady += s.after
				r := l.do(s.op, s.client, s.address, s.forMs)
				if r.Refused != s.refused {
					t.Errorf("step %d: refused %q, want %q", i+1, r.Refused, s.refused)
				}
				if _, err := netip.ParseAddr(s.address); err == nil && !strings.Contains(s.address, "%") {
					if got := l.show(s.address); got != s.want {
						t.Errorf("step %d: %s is %q, want %q", i+1, s.address, got, s.want)
					}
				}
			}
			again, err := Restore(bytes.NewReader(snapshotOf(t, l.m)))
			if err != nil || !bytes.Equal(snapshotOf(t, again), snapshotOf(t, l.m)) {
				t.Errorf("another state after a snapshot (%v)", err)
			}
		})
	}
}

func TestElsewhereSaysWhere(t *testing.T) {
	l := newLab(t)
	l.do(bindOp, "x", "10.0.0.10", 100)
	if r := l.do(bindOp, "x", "10.0.0.11", 100); r.Refused != RefusedElsewhere || r.Binding.GetAddress() != "10.0.0.10" || r.Binding.GetUntilMs() != 1100 {
		t.Errorf("got %+v", r)
	}
	r := l.apply(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{Operation: bindOp, Subnet: "b", Address: "10.0.1.10", Client: "mac x", ForMs: 1}}})
	if r.Refused != "" {
		t.Errorf("another subnet: %s", r.Refused)
	}
	r = l.apply(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{Operation: bindOp, Subnet: "c", Address: "10.0.1.10", Client: "mac x", ForMs: 1}}})
	if r.Refused != RefusedOutside {
		t.Errorf("no subnet: %s", r.Refused)
	}
}

func TestSteadyTimeNeverGoesBack(t *testing.T) {
	l := newLab(t)
	l.do(bindOp, "x", "10.0.0.10", 100)
	l.steady = 1100
	l.do(releaseOp, "nobody", "10.0.0.10", 0)
	l.steady = 7
	if r := l.do(bindOp, "y", "10.0.0.10", 100); r.Refused != "" || l.m.Steady() != 1100 || l.show("10.0.0.10") != "mac y bound 1200" {
		t.Errorf("refused %q, steady time %d, %s", r.Refused, l.m.Steady(), l.show("10.0.0.10"))
	}
}

func TestASubnetThatIsRemovedIsForgotten(t *testing.T) {
	l := newLab(t)
	l.do(bindOp, "x", "10.0.0.10", 100)
	l.grant("e1", "", 3)
	l.room(&kilnv1.RoomCommand{RemoveSubnets: []string{"a"}}, "")
	if n := len(l.m.Bindings()) + len(l.m.addresses.byClient) + len(l.m.addresses.blocks) + len(l.m.addresses.rovers); n != 0 {
		t.Errorf("%d things are left of it", n)
	}
	if r := l.do(bindOp, "x", "10.0.0.10", 100); r.Refused != RefusedOutside {
		t.Errorf("refused %q, want %q", r.Refused, RefusedOutside)
	}
}

func TestAPoolThatShrinksKeepsWhatIsBoundUntilItsTimeIsOver(t *testing.T) {
	l := newLab(t)
	l.do(bindOp, "x", "10.0.0.19", 100)
	small := labSubnet("a", "10.0.0")
	small.Pools[0].To = "10.0.0.11"
	l.room(&kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{small}}, "")
	if r := l.do(bindOp, "x", "10.0.0.19", 200); r.Refused != "" {
		t.Errorf("a renewal: %q", r.Refused)
	}
	l.steady += 200
	if r := l.do(bindOp, "x", "10.0.0.19", 200); r.Refused != RefusedOutside {
		t.Errorf("after its time: %q", r.Refused)
	}
}

func TestChangesThatWouldGiveAnAddressToTwo(t *testing.T) {
	for _, c := range []struct {
		name   string
		change *kilnv1.RoomCommand
		after  int64
		want   string
	}{
		{"a fixed address that another has", &kilnv1.RoomCommand{Machines: []*kilnv1.Machine{{Name: "n", Macs: []string{"mac-n"}, Address: "10.0.0.10/24"}}}, 0, "n  10.0.0.10 1"},
		{"after its time", &kilnv1.RoomCommand{Machines: []*kilnv1.Machine{{Name: "n", Macs: []string{"mac-n"}, Address: "10.0.0.10/24"}}}, 200, ""},
		{"a fixed address of who has it", &kilnv1.RoomCommand{Machines: []*kilnv1.Machine{{Name: "n", Macs: []string{"mac-n", "mac-x"}, Address: "10.0.0.10/24"}}}, 0, ""},
		{"another network card in a machine that holds its address", &kilnv1.RoomCommand{Machines: []*kilnv1.Machine{{Name: "fixed", Macs: []string{"mac-h"}, Address: "10.0.0.12/24"}}}, 0, "fixed  10.0.0.12 1"},
		{"another label", &kilnv1.RoomCommand{Machines: []*kilnv1.Machine{{Name: "fixed", Macs: []string{"mac-f", "mac-g"}, Address: "10.0.0.12/24", Labels: map[string]string{"a": "b"}}}}, 0, ""},
		{"another name for a subnet", &kilnv1.RoomCommand{RemoveSubnets: []string{"a"}, Subnets: []*kilnv1.Subnet{labSubnet("c", "10.0.0")}}, 0, " c 10.0.0.10 3"},
		{"a subnet that is split", &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "a", Prefix: "10.0.0.128/25"}, {Name: "c", Prefix: "10.0.0.0/25"}}}, 0, " c 10.0.0.10 3"},
		{"a subnet that moves away", &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{labSubnet("a", "10.0.7")}}, 0, ""},
		{"a subnet that grows", &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "a", Prefix: "10.0.0.0/16"}}}, 0, ""},
		{"another name later", &kilnv1.RoomCommand{RemoveSubnets: []string{"a"}, Subnets: []*kilnv1.Subnet{labSubnet("c", "10.0.0")}}, 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.do(bindOp, "x", "10.0.0.10", 150)
			l.do(bindOp, "y", "10.0.0.11", 100)
			l.do(bindOp, "f", "10.0.0.12", 100)
			l.do(bindOp, "z", "10.0.0.13", 100)
			l.do(releaseOp, "z", "10.0.0.13", 0)
			l.steady += c.after
			l.do(releaseOp, "z", "10.0.0.13", 0)
			var got []string
			for _, one := range l.m.Conflicts(c.change) {
				got = append(got, fmt.Sprintf("%s %s %s %d", one.Machine, one.Subnet, one.Binding.GetAddress(), one.Count))
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			l.room(c.change, map[bool]Refusal{true: "", false: RefusedHeld}[c.want == ""])
		})
	}
}

func TestBlocks(t *testing.T) {
	l := newLab(t)
	l.do(bindOp, "x", "10.0.0.10", 500)
	l.do(bindOp, "y", "10.0.0.11", 500)
	l.do(releaseOp, "y", "10.0.0.11", 0)
	want := func(what string, got []string, ends ...string) {
		t.Helper()
		var all []string
		for _, e := range ends {
			all = append(all, "10.0.0."+e)
		}
		if !slices.Equal(got, all) {
			t.Errorf("%s: got %v, want %v", what, got, all)
		}
	}
	want("neither bound, nor a machine's, nor bound before", l.grant("e1", "", 2), "13", "14")
	want("not those of another edge, and not excluded", l.grant("e2", "", 2), "16", "17")
	want("more, beside what it has", l.grant("e1", "", 1), "13", "14", "18")
	want("at last those that were bound once", l.grant("e2", "", 9), "16", "17", "19", "11")
	want("nothing is left", l.grant("e3", "", 9))
	want("a class's own", l.grant("e1", "phones", 9), "30", "31")
	want("a class without pools has the subnet's", l.grant("e3", "plain", 9))
	l.do(bindOp, "z", "10.0.0.14", 5000)
	want("what was bound meanwhile is no longer in it", l.grant("e1", "", 0), "13", "18")
	l.steady += 1000
	want("a block ends; what was bound once comes last", l.grant("e3", "", 9), "19", "13", "16", "17", "18", "10", "11")
	want("and then it is others'", l.grant("e1", "", 9))
	for _, c := range []*kilnv1.BlockCommand{{Subnet: "a"}, {Edge: "e", Subnet: "a", Size: maxBlock + 1}, {Edge: "e", Subnet: "a", ForMs: -1}} {
		if r := l.apply(&kilnv1.Command{Command: &kilnv1.Command_Block{Block: c}}); r.Refused != RefusedInvalid {
			t.Errorf("%v: %q", c, r.Refused)
		}
	}
	if r := l.apply(&kilnv1.Command{Command: &kilnv1.Command_Block{Block: &kilnv1.BlockCommand{Edge: "e", Subnet: "none"}}}); r.Refused != RefusedOutside {
		t.Errorf("no subnet: %q", r.Refused)
	}
}

func TestABackupKeepsWhatIsBoundNow(t *testing.T) {
	l := newLab(t)
	l.do(bindOp, "x", "10.0.0.10", 100)
	old, err := Restore(bytes.NewReader(snapshotOf(t, l.m)))
	if err != nil {
		t.Fatal(err)
	}
	l.steady += 500
	l.do(bindOp, "y", "10.0.0.10", 100)
	l.do(bindOp, "x", "10.0.0.11", 100)
	want := l.m.Bindings()
	old.Renew(9, l.m)
	l.m = old
	if got := l.m.Bindings(); !slices.EqualFunc(got, want, func(a, b *kilnv1.Binding) bool { return proto.Equal(a, b) }) || l.m.Steady() != 1500 {
		t.Errorf("at %d there is %v, want %v", l.m.Steady(), got, want)
	}
	if r := l.do(bindOp, "x", "10.0.0.10", 100); r.Refused != RefusedBound {
		t.Errorf("refused %q, want %q", r.Refused, RefusedBound)
	}

	// A farm that lost everything has what the backup knew.
	lost, err := Restore(bytes.NewReader(snapshotOf(t, l.m)))
	if err != nil {
		t.Fatal(err)
	}
	lost.Renew(10, governed())
	if got := lost.Bindings(); len(got) != 2 || lost.Steady() != 1500 {
		t.Errorf("at %d there is %v", lost.Steady(), got)
	}
}

func TestAddressesNeedTheirLevel(t *testing.T) {
	m := New()
	for _, c := range []*kilnv1.Command{
		{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{}}}, {Command: &kilnv1.Command_Block{Block: &kilnv1.BlockCommand{}}},
		{Command: &kilnv1.Command_Room{Room: &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "a"}}}}},
		{Command: &kilnv1.Command_Room{Room: &kilnv1.RoomCommand{RemoveSubnets: []string{"a"}}}},
	} {
		if r := apply(m, 1, c); r.Refused != RefusedLevel {
			t.Errorf("%v: refused %q", c, r.Refused)
		}
	}
}

func BenchmarkAFixedAddressAmongManyBindings(b *testing.B) {
	l := &lab{t: b, m: governed(), steady: 1000}
	subnet := &kilnv1.Subnet{Name: "a", Prefix: "10.0.0.0/8", Pools: []*kilnv1.AddressRange{{From: "10.0.0.1", To: "10.255.0.0"}}}
	l.room(&kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{subnet}}, "")
	address := netip.MustParseAddr("10.0.0.1")
	for i := range 200_000 {
		l.do(bindOp, fmt.Sprint(i), address.String(), 1_000_000)
		address = address.Next()
	}
	c := &kilnv1.RoomCommand{Machines: []*kilnv1.Machine{{Name: "m", Address: "10.200.0.1/8"}}, Subnets: []*kilnv1.Subnet{{Name: "b", Prefix: "11.0.0.0/8"}}}
	for b.Loop() {
		if got := l.m.Conflicts(c); len(got) != 0 {
			b.Fatal(got)
		}
	}
}

func TestAMachineThatIsNoLongerDescribedKeepsWhatItWasPromised(t *testing.T) {
	l := newLab(t)
	l.do(bindOp, "d", "10.0.0.10", 100)
	l.room(&kilnv1.RoomCommand{RemoveMachines: []string{"described"}}, "")
	l.do(bindOp, "d", "10.0.0.10", 200) // an edge that heard of neither may acknowledge the address until 1100
	l.do(releaseOp, "d", "10.0.0.10", 0)
	if got, want := l.show("10.0.0.10"), "mac d released 1100"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNothingIsKeptBelowItsLevel(t *testing.T) {
	l := newLab(t)
	l.m.level = bindLevel
	l.do(bindOp, "d", "10.0.0.10", 100)
	if r := l.do(freeOp, "d", "10.0.0.10", 0); r.Refused != RefusedLevel {
		t.Errorf("an administrator frees an address: %q, want %q", r.Refused, RefusedLevel)
	}
	l.do(releaseOp, "d", "10.0.0.10", 0)
	if got, want := l.show("10.0.0.10"), "mac d released 1000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatIsFreedIsTheBindingThatWasMeant(t *testing.T) {
	l := newLab(t)
	l.do(bindOp, "x", "10.0.0.10", 100)
	for _, c := range []struct {
		until int64
		want  string
	}{{1099, "mac x bound 1100"}, {1100, "mac x released 1000"}} {
		until, want := c.until, c.want
		l.apply(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{Operation: freeOp, Subnet: "a", Address: "10.0.0.10", UntilMs: until}}})
		if got := l.show("10.0.0.10"); got != want {
			t.Errorf("of the binding until %d: got %s, want %s", until, got, want)
		}
	}
}

func TestALateReleaseUndoesNoShorterRenewal(t *testing.T) {
	for _, op := range []kilnv1.BindCommand_Operation{releaseOp, declineOp} {
		l := newLab(t)
		before := l.do(bindOp, "x", "10.0.0.10", 100).Binding.GetUntilMs()
		l.steady += 10
		l.do(bindOp, "x", "10.0.0.10", 20) // its firmware asks, after the system has given the address back
		l.apply(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{Operation: op, Subnet: "a", Address: "10.0.0.10", Client: "mac x", Mac: "mac-x", ForMs: 50, UntilMs: before}}})
		if got, want := l.show("10.0.0.10"), "mac x bound 1101"; got != want {
			t.Errorf("%s: got %s, want %s", op, got, want)
		}
	}
}
