package state

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// namedLab is a lab whose subnets a and b publish names in one zone, and c in another.
func namedLab(t *testing.T) *lab {
	l := newLab(t)
	var all []*kilnv1.Subnet
	for i, name := range []string{"a", "b", "c"} {
		s := labSubnet(name, fmt.Sprintf("10.0.%d", i))
		s.DnsUpdate = &kilnv1.DNSUpdate{Server: "s:53", Zone: "lab.example", Clients: true}
		if name == "c" {
			s.DnsUpdate.Zone = "other.example"
		}
		all = append(all, s)
	}
	l.room(&kilnv1.RoomCommand{Subnets: all, Machines: []*kilnv1.Machine{{Name: "web", Hostname: "www.lab.example", Macs: []string{"mac-w"}}}}, "")
	return l
}

func (l *lab) call(subnet, client, address, name string, change ...func(*kilnv1.BindCommand)) Result {
	c := &kilnv1.BindCommand{Operation: bindOp, Subnet: subnet, Address: address, Client: "mac " + client, Mac: "mac-" + client, Edge: "e", ForMs: 100, Name: name}
	for _, f := range change {
		f(c)
	}
	return l.apply(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: c}})
}

func TestWhoGetsWhichName(t *testing.T) {
	nameless := func(c *kilnv1.BindCommand) { c.Nameless = true }
	type step struct {
		after                 int64
		subnet, client        string
		address, name         string
		change                func(*kilnv1.BindCommand)
		wantLabel, wantResult string
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"a free one", []step{{0, "a", "x", "10.0.0.10", "pc", nil, "pc", "pc.lab.example"}}},
		{"none is asked for", []step{{0, "a", "x", "10.0.0.10", "", nil, "", ""}}},
		{"one that is none", []step{{0, "a", "x", "10.0.0.10", "PC!", nil, "", ""}, {0, "a", "y", "10.0.0.11", "wpad", nil, "", ""}}},
		{"that of a machine, or its host name's", []step{{0, "a", "x", "10.0.0.10", "web", nil, "", ""}, {0, "a", "x", "10.0.0.10", "www", nil, "", ""}}},
		{"another client's, until its time is over", []step{{0, "a", "x", "10.0.0.10", "pc", nil, "pc", "pc.lab.example"}, {99, "a", "y", "10.0.0.11", "pc", nil, "", ""},
			{1, "a", "y", "10.0.0.11", "pc", nil, "pc", "pc.lab.example"}, {0, "a", "x", "10.0.0.10", "", nil, "", ""}}},
		{"another client's in another subnet of the zone", []step{{0, "a", "x", "10.0.0.10", "pc", nil, "pc", "pc.lab.example"}, {0, "b", "y", "10.0.1.11", "pc", nil, "", ""}}},
		{"in another zone", []step{{0, "a", "x", "10.0.0.10", "pc", nil, "pc", "pc.lab.example"}, {0, "c", "y", "10.0.2.11", "pc", nil, "pc", "pc.other.example"}}},
		{"its own in another subnet", []step{{0, "a", "x", "10.0.0.10", "pc", nil, "pc", "pc.lab.example"}, {0, "b", "x", "10.0.1.11", "pc", nil, "pc", "pc.lab.example"}}},
		{"what it has, when its firmware says nothing", []step{{0, "a", "x", "10.0.0.10", "pc", nil, "pc", "pc.lab.example"}, {50, "a", "x", "10.0.0.10", "", nil, "pc", "pc.lab.example"}}},
		{"what it had, when it comes back", []step{{0, "a", "x", "10.0.0.10", "pc", nil, "pc", "pc.lab.example"}, {500, "a", "x", "10.0.0.10", "", nil, "pc", "pc.lab.example"}}},
		{"another one", []step{{0, "a", "x", "10.0.0.10", "pc", nil, "pc", "pc.lab.example"}, {0, "a", "x", "10.0.0.10", "tv", nil, "tv", "tv.lab.example"},
			{0, "a", "y", "10.0.0.11", "pc", nil, "pc", "pc.lab.example"}}},
		{"none any more", []step{{0, "a", "x", "10.0.0.10", "pc", nil, "pc", "pc.lab.example"}, {0, "a", "x", "10.0.0.10", "pc", nameless, "", ""},
			{0, "a", "y", "10.0.0.11", "pc", nil, "pc", "pc.lab.example"}}},
		{"a machine that is described has its own", []step{{0, "a", "w", "10.0.0.10", "pc", nil, "", "www.lab.example"}, {0, "c", "w", "10.0.2.10", "pc", nameless, "", "www.other.example"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := namedLab(t)
			for i, s := range c.steps {
				l.steady += s.after
				if s.change == nil {
					s.change = func(*kilnv1.BindCommand) {}
				}
				r := l.call(s.subnet, s.client, s.address, s.name, s.change)
				if r.Refused != "" || r.Binding.GetName() != s.wantLabel || r.Name != s.wantResult {
					t.Errorf("step %d: %q, label %q, name %q; want %q and %q", i+1, r.Refused, r.Binding.GetName(), r.Name, s.wantLabel, s.wantResult)
				}
				again, err := Restore(bytes.NewReader(snapshotOf(t, l.m))) // what it decides by is in a snapshot
				if err != nil {
					t.Fatal(err)
				}
				l.m = again
			}
		})
	}
}

func TestANameIsFreeWhenItsAddressIs(t *testing.T) {
	l := namedLab(t)
	l.call("a", "x", "10.0.0.10", "pc")
	l.do(releaseOp, "x", "10.0.0.10", 0)
	if r := l.call("a", "y", "10.0.0.11", "pc"); r.Name != "pc.lab.example" {
		t.Errorf("after a release: %q", r.Name)
	}
	l.do(declineOp, "y", "10.0.0.11", 50)
	if r := l.call("a", "z", "10.0.0.13", "pc"); r.Name != "pc.lab.example" {
		t.Errorf("after it was declined: %q", r.Name)
	}
	l.room(&kilnv1.RoomCommand{RemoveSubnets: []string{"a"}}, "")
	if r := l.call("b", "v", "10.0.1.10", "pc"); r.Name != "pc.lab.example" {
		t.Errorf("after its subnet went: %q", r.Name)
	}
}

func TestWhatIsInDNSIsKept(t *testing.T) {
	l := namedLab(t)
	put := func(want Refusal, c *kilnv1.PublishCommand) {
		t.Helper()
		if r := l.apply(&kilnv1.Command{Command: &kilnv1.Command_Publish{Publish: c}}); r.Refused != want {
			t.Errorf("refused %q, want %q", r.Refused, want)
		}
	}
	a := &kilnv1.DNSRecord{Server: "s:53", Zone: "lab.example", Name: "pc.lab.example", Address: "10.0.0.10", Client: "mac x", TtlSeconds: 60}
	sure := proto.CloneOf(a)
	sure.Sure = true
	back := proto.CloneOf(a)
	back.Reverse = true
	put("", &kilnv1.PublishCommand{Put: []*kilnv1.DNSRecord{a, back}})
	put("", &kilnv1.PublishCommand{Put: []*kilnv1.DNSRecord{sure}, Remove: []*kilnv1.DNSRecord{back}})
	put(RefusedInvalid, &kilnv1.PublishCommand{Put: []*kilnv1.DNSRecord{{Name: string(make([]byte, 300))}}})
	if got := l.m.Published(); len(got) != 1 || !got[0].GetSure() {
		t.Errorf("published: %v", got)
	}
	again, err := Restore(bytes.NewReader(snapshotOf(t, l.m)))
	if err != nil || !bytes.Equal(snapshotOf(t, again), snapshotOf(t, l.m)) {
		t.Errorf("a snapshot of it comes back otherwise: %v", err)
	}

	// A backup is not sure of what it knew; what the farm of now knows counts.
	tv := proto.CloneOf(sure)
	tv.Name = "tv.lab.example"
	put("", &kilnv1.PublishCommand{Put: []*kilnv1.DNSRecord{tv}, Remove: []*kilnv1.DNSRecord{a}})
	again.Renew(9, l.m)
	got := map[string]bool{}
	for _, r := range again.Published() {
		got[r.GetName()] = r.GetSure()
	}
	if len(got) != 2 || got["pc.lab.example"] || !got["tv.lab.example"] {
		t.Errorf("after a restore, and whether it is sure: %v", got)
	}
}

func TestNamesNeedTheirLevel(t *testing.T) {
	m := New()
	apply(m, 0, memberCommand("a", "h1:7300", bindLevel))
	apply(m, 0, levelCommand(bindLevel))
	for _, c := range []*kilnv1.Command{
		{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{Name: "pc"}}}, {Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{Nameless: true}}},
		{Command: &kilnv1.Command_Publish{Publish: &kilnv1.PublishCommand{}}},
		{Command: &kilnv1.Command_Room{Room: &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "a", DnsUpdate: &kilnv1.DNSUpdate{}}}}}},
	} {
		if r := apply(m, 1, c); r.Refused != RefusedLevel {
			t.Errorf("%v: refused %q", c, r.Refused)
		}
	}
	if r := apply(m, 1, &kilnv1.Command{Command: &kilnv1.Command_Room{Room: &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "a"}}}}}); r.Refused != "" {
		t.Errorf("a subnet without names is refused: %q", r.Refused)
	}
}
