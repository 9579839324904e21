package pool

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/pool/replica"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// turn6 is a packet, and what is answered after a while.
type turn6 struct {
	name    string
	after   time.Duration
	do      func(f *testFarm, e edge)
	machine *kilnv1.Machine
	in      packet6
	want    string // a part of it
}

func play6(t *testing.T, in *kilnv1.RoomCommand, turns []turn6, change ...func(*Config)) {
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
			if got := e.ask6(t, c.in, c.machine); !strings.Contains(got, c.want) {
				t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			}
		}
		e.end()
	})
}

const the6 = "fd01::10"

// one6 has one address.
func one6() *kilnv1.RoomCommand { return room(subnetOf("a", "fd01::/64", the6+"-"+the6)) }

func TestTheLifeOfALeaseOverIPv6(t *testing.T) {
	first := []turn6{
		{name: "SOLICIT", in: packet6{message: solicit, xid: 1}, want: "ADVERTISE fd01::10 for 1h0m0s"},
		{name: "REQUEST", in: packet6{message: request6, xid: 1, asked: []string{the6}}, want: "REPLY fd01::10 for 1h0m0s"},
	}
	then := func(more ...turn6) []turn6 { return append(append([]turn6{}, first...), more...) }
	have := []string{the6}
	for _, c := range []struct {
		name  string
		turns []turn6
	}{
		{"it may have it at once", []turn6{
			{name: "SOLICIT", in: packet6{message: solicit, xid: 1, rapid: true}, want: "REPLY fd01::10 for 1h0m0s at once"},
			{name: "it is another's then", in: packet6{message: solicit, mac: otherMAC, xid: 2, rapid: true}, want: "ADVERTISE NoAddrsAvail there is no free address"},
		}},
		{"firmware and iPXE get a short time, and the same address whatever DUIDs and associations they have", then(
			turn6{name: "firmware", in: packet6{message: solicit, xid: 2, class: "PXEClient:Arch:00007", duid: "000400112233445566778899aabbccddeeff", ia: 9}, want: "ADVERTISE fd01::10 for 10m0s"},
			turn6{name: "its REQUEST", in: packet6{message: request6, xid: 2, class: "PXEClient:Arch:00007", duid: "000400112233445566778899aabbccddeeff", ia: 9, asked: have}, want: "REPLY fd01::10 for 10m0s"},
			turn6{name: "a DUID of an enterprise", in: packet6{message: request6, xid: 3, duid: "0002000000090102", ia: 7, asked: have}, want: "REPLY fd01::10 for 1h0m0s"},
		)},
		{"a REQUEST of what another has gets what there is", then(
			turn6{name: "REQUEST", in: packet6{message: request6, mac: otherMAC, xid: 2, asked: have}, want: "REPLY NoAddrsAvail there is no free address"},
			turn6{name: "of another link", in: packet6{message: request6, mac: otherMAC, xid: 3, asked: []string{"fd09::1"}}, want: "REPLY NotOnLink"},
			turn6{name: "of its own, from another link", in: packet6{message: request6, xid: 4, asked: []string{"fd09::1"}}, want: "REPLY NotOnLink"},
		)},
		{"a pool of one address is another's when it has run out", then(
			turn6{name: "at once", in: packet6{message: solicit, mac: otherMAC, xid: 2}, want: "ADVERTISE NoAddrsAvail"},
			turn6{name: "after the time that was told", after: time.Hour + time.Second, in: packet6{message: solicit, mac: otherMAC, xid: 3}, want: "NoAddrsAvail"},
			turn6{name: "after the time that was committed", after: 3 * time.Minute, in: packet6{message: request6, mac: otherMAC, xid: 4}, want: "REPLY fd01::10 for 1h0m0s"},
			turn6{name: "the first one renews", in: packet6{message: renew, xid: 5, asked: have}, want: "REPLY fd01::10 for 0s"},
			turn6{name: "it asks everyone", in: packet6{message: rebind, xid: 6, asked: have}, want: "REPLY fd01::10 for 0s"},
		)},
		{"it renews", then(
			turn6{name: "RENEW", after: 30 * time.Minute, in: packet6{message: renew, xid: 2, asked: have}, want: "REPLY fd01::10 for 1h0m0s"},
			turn6{name: "REBIND", after: 50 * time.Minute, in: packet6{message: rebind, xid: 3, asked: have}, want: "REPLY fd01::10 for 1h0m0s"},
			turn6{name: "another one, too", in: packet6{message: renew, xid: 4, asked: []string{the6, "fd01::77"}}, want: "REPLY fd01::10 for 1h0m0s fd01::77 for 0s"},
			turn6{name: "only one that is not its own", in: packet6{message: renew, xid: 5, asked: []string{"fd01::77"}}, want: "REPLY fd01::10 for 1h0m0s fd01::77 for 0s"},
			turn6{name: "one of another link", in: packet6{message: renew, xid: 6, asked: []string{"fd09::77"}}, want: "REPLY fd09::77 for 0s"},
			turn6{name: "none", in: packet6{message: renew, xid: 7}, want: "REPLY fd01::10 for 1h0m0s"},
			turn6{name: "none, of a client that has none", in: packet6{message: renew, mac: otherMAC, xid: 8}, want: "REPLY NoBinding"},
			turn6{name: "after the binding was lost, too", do: func(f *testFarm, e edge) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.apply(&kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{Operation: kilnv1.BindCommand_OPERATION_RELEASE, Subnet: "a", Address: the6, Client: "mac " + pcMAC}}})
			}, in: packet6{message: renew, xid: 9, asked: have}, want: "REPLY fd01::10 for 1h0m0s"},
		)},
		{"it looks whether it is where it was", then(
			turn6{name: "CONFIRM", in: packet6{message: confirm, xid: 2, asked: have}, want: "REPLY Success"},
			turn6{name: "elsewhere", in: packet6{message: confirm, xid: 3, asked: []string{"fd09::1"}}, want: "REPLY NotOnLink"},
			turn6{name: "with nothing", in: packet6{message: confirm, xid: 4}, want: "silent"},
		)},
		{"a release makes it free, and the client is remembered", then(
			turn6{name: "RELEASE", after: time.Minute, in: packet6{message: release6, xid: 2, asked: have}, want: "REPLY Success"},
			turn6{name: "again", in: packet6{message: release6, xid: 3, asked: have}, want: "REPLY Success NoBinding"},
			turn6{name: "SOLICIT", in: packet6{message: solicit, xid: 4}, want: "ADVERTISE fd01::10"},
			turn6{name: "another's", in: packet6{message: request6, mac: otherMAC, xid: 5}, want: "REPLY fd01::10"},
		)},
		{"nobody gives back what is another's", then(
			turn6{name: "RELEASE", after: time.Minute, in: packet6{message: release6, mac: otherMAC, xid: 2, asked: have}, want: "REPLY Success NoBinding"},
			turn6{name: "DECLINE", in: packet6{message: decline6, mac: otherMAC, xid: 3, asked: have}, want: "REPLY Success NoBinding"},
			turn6{name: "another's", in: packet6{message: solicit, mac: otherMAC, xid: 4}, want: "NoAddrsAvail"},
		)},
		{"firmware that gives one association back keeps its address by the other", then(
			turn6{name: "REQUEST by another association", in: packet6{message: request6, xid: 2, ia: 2, asked: have}, want: "REPLY fd01::10"},
			turn6{name: "its RELEASE", after: time.Minute, in: packet6{message: release6, xid: 3, ia: 2, asked: have}, want: "REPLY Success"},
			turn6{name: "another's", in: packet6{message: solicit, mac: otherMAC, xid: 4}, want: "NoAddrsAvail"},
			turn6{name: "the RELEASE of the last", in: packet6{message: release6, xid: 5, asked: have}, want: "REPLY Success"},
			turn6{name: "another's then", in: packet6{message: solicit, mac: otherMAC, xid: 6}, want: "ADVERTISE fd01::10"},
		)},
		{"a release that is late gives back nothing that is newer", then(
			turn6{name: "RELEASE at once", in: packet6{message: release6, xid: 2, asked: have}, want: "REPLY Success"},
			turn6{name: "another's", in: packet6{message: solicit, mac: otherMAC, xid: 3}, want: "NoAddrsAvail"},
		)},
		{"a declined address is nobody's for a while", then(
			turn6{name: "DECLINE", in: packet6{message: decline6, xid: 2, asked: have}, want: "REPLY Success"},
			turn6{name: "its SOLICIT", in: packet6{message: solicit, xid: 3}, want: "NoAddrsAvail"},
			turn6{name: "another's, later", after: 9 * time.Minute, in: packet6{message: solicit, mac: otherMAC, xid: 4}, want: "NoAddrsAvail"},
			turn6{name: "another's, much later", after: 2 * time.Minute, in: packet6{message: solicit, mac: otherMAC, xid: 5}, want: "ADVERTISE fd01::10"},
		)},
		{"the farm is away", then(
			turn6{name: "a renewal gets what remains", after: 30 * time.Minute, do: away, in: packet6{message: renew, xid: 2, asked: have}, want: "REPLY fd01::10 for 32m2"},
			turn6{name: "from everyone, too", in: packet6{message: rebind, xid: 3, asked: have}, want: "REPLY fd01::10 for 32m2"},
			turn6{name: "it is where it was", in: packet6{message: confirm, xid: 4, asked: have}, want: "REPLY Success"},
			turn6{name: "no offer is made: it may have given it back elsewhere", in: packet6{message: solicit, xid: 5}, want: "silent: the farm is away"},
			turn6{name: "nobody takes an address", in: packet6{message: request6, xid: 5, asked: have}, want: "silent: the farm is away"},
			turn6{name: "at once neither", in: packet6{message: solicit, xid: 6, rapid: true}, want: "silent: the farm is away"},
			turn6{name: "nobody new gets one", in: packet6{message: solicit, mac: otherMAC, xid: 4}, want: "silent: the farm is away"},
			turn6{name: "nobody takes one over", in: packet6{message: rebind, mac: otherMAC, xid: 5, asked: have}, want: "silent: the farm is away"},
			turn6{name: "nothing remains", after: 34 * time.Minute, in: packet6{message: renew, xid: 7, asked: have}, want: "silent: the farm is away"},
			turn6{name: "the farm is back", after: time.Second, do: back, in: packet6{message: renew, xid: 8, asked: have}, want: "REPLY fd01::10 for 1h0m0s"},
		)},
		{"answers of the farm are lost", []turn6{
			{name: "REQUEST", do: lostAnswers, in: packet6{message: request6, xid: 1, asked: have}, want: "silent: the farm is away"},
			{name: "the same later", after: time.Second, do: back, in: packet6{message: request6, xid: 1, asked: have}, want: "REPLY fd01::10"},
		}},
		{"options only", []turn6{{name: "INFORMATION-REQUEST", in: packet6{message: inform6, xid: 1}, want: "REPLY"}}},
		{"a client that hides its MAC is its DUID and association", []turn6{
			{name: "REQUEST", in: packet6{message: request6, mac: "-", duid: "0002000000090102", ia: 1, xid: 1}, want: "REPLY fd01::10"},
			{name: "its other network card's", in: packet6{message: request6, mac: "-", duid: "0002000000090102", ia: 2, xid: 2}, want: "NoAddrsAvail"},
			{name: "RENEW", in: packet6{message: renew, mac: "-", duid: "0002000000090102", ia: 1, xid: 3, asked: have}, want: "REPLY fd01::10 for 1h0m0s"},
			{name: "a machine that is described by its UUID is its MAC", machine: &kilnv1.Machine{Name: "m", Macs: []string{pcMAC}}, in: packet6{message: solicit, mac: "-", duid: "0002000000090102", ia: 2, xid: 4}, want: "NoAddrsAvail"},
		}},
		{"too many packets of a client", append(slices.Repeat([]turn6{{in: packet6{message: solicit}}}, clientBurst),
			turn6{name: "the next", in: packet6{message: solicit}, want: "silent: too many packets: limit of client"},
			turn6{name: "another client's", in: packet6{message: solicit, mac: otherMAC}, want: "ADVERTISE"},
			turn6{name: "later", after: 5 * time.Second, in: packet6{message: solicit}, want: "ADVERTISE"},
		)},
	} {
		t.Run(c.name, func(t *testing.T) { play6(t, one6(), c.turns) })
	}
}

func TestWhereClientsOfIPv6Are(t *testing.T) {
	in := room(subnetOf("own", "fd01::/64", "fd01::1:0:0:0-fd01::1:ffff:ffff:ffff"), subnetOf("far", "fd02::/64", "fd02::100-fd02::1ff"), subnetOf("old", "10.1.0.0/24", "10.1.0.10-10.1.0.19"),
		subnetOf("odd", "fd03::/64", "fd03::100-fd03::1ff"), subnetOf("known", "fd04::/64", "fd04::100-fd04::1ff"), subnetOf("bare", "fd05::/64"))
	in.Subnets[3].Relays = []string{"fd77::1"}
	in.Subnets[4].KnownOnly = true
	for _, c := range []struct {
		name    string
		in      packet6
		machine *kilnv1.Machine
		want    string
	}{
		{"on the link of the edge", packet6{}, nil, "ADVERTISE fd01::1:"},
		{"behind a relay", packet6{link: "fd02::1"}, nil, "ADVERTISE fd02::1"},
		{"behind a relay that is in no prefix", packet6{link: "fd77::1"}, nil, "ADVERTISE fd03::1"},
		{"behind a relay that does not know", packet6{link: "::"}, nil, "ADVERTISE fd01::1:"},
		{"behind a relay of a network that nobody described", packet6{link: "fd88::1"}, nil, "not mine"},
		{"where machines must be described", packet6{link: "fd04::1"}, nil, "silent: subnet known is for machines that are described"},
		{"where this one is", packet6{link: "fd04::1"}, &kilnv1.Machine{Name: "m"}, "ADVERTISE fd04::1"},
		{"where there are no pools", packet6{link: "fd05::1"}, nil, "ADVERTISE NoAddrsAvail there are no pools for it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.message = solicit
			play6(t, in, []turn6{{name: c.name, in: c.in, machine: c.machine, want: c.want}})
		})
	}
}

func TestClassesAndOptionsOfIPv6(t *testing.T) {
	s := subnetOf("a", "fd01::/64", "fd01::100-fd01::1ff")
	s.Dns, s.Domain, s.Ntp, s.Gateway = []string{"fd01::53"}, "lab.example", []string{"fd01::123"}, "fe80::1"
	s.Options = []*kilnv1.DHCPOption{{Code: 32, Value: []byte{0, 0, 1, 0}}, {Code: 3, Value: []byte{1}}, {Code: 82, Value: []byte{1, 2, 3, 4}}}
	s.Classes = []*kilnv1.ClientClass{{Name: "phones", VendorClass: "phone", LeaseSeconds: 60, Pools: []*kilnv1.AddressRange{{From: "fd01::200", To: "fd01::2ff"}}, Options: []*kilnv1.DHCPOption{{Code: 32, Value: []byte{9, 9, 9, 9}}}}}
	synctest.Test(t, func(t *testing.T) {
		f := newTestFarm(t, room(s))
		e := newEdge(t, f, "edge1")
		for _, c := range []struct{ class, prefix, refresh string }{{"", "ADVERTISE fd01::1", "00000100"}, {"phone 7", "ADVERTISE fd01::2", "09090909"}} {
			text, m := e.reply6(t, packet6{message: solicit, class: c.class, wants: []uint16{23, 24, 31, 32, 83}}, nil)
			if !strings.HasPrefix(text, c.prefix) || c.class != "" && !strings.HasSuffix(text, "for 1m0s") {
				t.Errorf("class %q: got %s, want %s", c.class, text, c.prefix)
			}
			got := fmt.Sprintf("%v %v %x %v", m.Options.DNS(), m.Options.DomainSearchList(), m.GetOneOption(dhcpv6.OptionInformationRefreshTime).ToBytes(), m.GetOneOption(82))
			if want := "[fd01::53] lab.example " + c.refresh + " <nil>"; !strings.Contains(got, "fd01::53") || !strings.Contains(got, "lab.example") || !strings.Contains(got, c.refresh) || !strings.HasSuffix(got, "<nil>") {
				t.Errorf("class %q: got %s, want %s", c.class, got, want)
			}
		}
		e.end()
	})
}

// All edges advertise one address to a client, and other ones to others, though nobody told them.
func TestEdgesAgreeWithoutTalking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := room(subnetOf("a", "fd01::/64", "fd01::-fd01::ffff:ffff:ffff:ffff"))
		in.TokenKey = []byte("0123456789abcdef0123456789abcdef")
		f := newTestFarm(t, in)
		a, b := newEdge(t, f, "edge1"), newEdge(t, f, "edge2")
		seen := map[string]bool{}
		for i := range 300 {
			p := packet6{message: solicit, mac: "02:00:00:00:" + hex(i>>8) + ":" + hex(i)}
			one, other := a.ask6(t, p, nil), b.ask6(t, p, nil)
			if one != other || seen[one] || !strings.HasPrefix(one, "ADVERTISE fd01:") {
				t.Fatalf("client %d: got %s and %s", i, one, other)
			}
			seen[one] = true
		}
		a.end()
		b.end()
	})
}

// Every address of a small pool is found, in whichever order clients come, at several edges at once.
func TestASmallPoolIsGivenToItsLastAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := room(subnetOf("a", "fd01::/64", "fd01::10-fd01::8f"))
		in.Subnets[0].Exclude = []*kilnv1.AddressRange{{From: "fd01::20", To: "fd01::2f"}}
		in.Machines = []*kilnv1.Machine{{Name: "fixed", Macs: []string{pcMAC}, Address6: "fd01::30/64"}}
		f := newTestFarm(t, in)
		f.delay = func() time.Duration { return 5 * time.Millisecond }
		edges := []edge{newEdge(t, f, "edge1"), newEdge(t, f, "edge2"), newEdge(t, f, "edge3")}
		var all sync.WaitGroup
		var mu sync.Mutex
		got := map[string]string{}
		for i := range 111 {
			all.Go(func() {
				mac := "02:00:00:00:00:" + hex(i)
				for try := range uint32(50) {
					text := edges[(i+int(try))%3].ask6(t, packet6{message: request6, mac: mac, xid: try}, nil)
					if address, ok := strings.CutPrefix(text, "REPLY fd01::"); ok {
						mu.Lock()
						if got[address] != "" {
							t.Errorf("%s is of %s and %s", address, got[address], mac)
						}
						got[address] = mac
						mu.Unlock()
						return
					}
					time.Sleep(2 * time.Second)
				}
				t.Errorf("%s got nothing", mac)
			})
		}
		all.Wait()
		if len(got) != 111 || got["30 for 1h0m0s"] != "" || got["20 for 1h0m0s"] != "" {
			t.Errorf("got %d addresses, want 111: %v", len(got), got)
		}
		if text := edges[0].ask6(t, packet6{message: solicit, mac: "02:00:00:00:01:01"}, nil); !strings.Contains(text, "NoAddrsAvail") {
			t.Errorf("got %s of a pool that is exhausted", text)
		}
		for _, e := range edges {
			e.end()
		}
	})
}

func TestStrangersOfIPv6LeaveAddressesToMachinesThatAreDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := room(subnetOf("a", "fd01::/64", "fd01::10-fd01::19"))
		for _, n := range []string{"1", "2"} {
			in.Machines = append(in.Machines, &kilnv1.Machine{Name: "m" + n, Macs: []string{"52:54:00:00:00:0" + n}})
		}
		f := newTestFarm(t, in)
		var told []string
		e := newEdge(t, f, "edge1", func(c *Config) { c.Tell = func(_, what string) { told = append(told, what) } })
		got := 0
		for i := range 100 {
			if strings.HasPrefix(e.ask6(t, packet6{message: request6, mac: "02:00:00:00:00:" + hex(i), xid: 1}, nil), "REPLY fd01:") {
				got++
			}
		}
		if got != 8 {
			t.Errorf("%d strangers got addresses, want 8", got)
		}
		for i, m := range in.Machines {
			if a := e.ask6(t, packet6{message: request6, mac: m.GetMacs()[0], xid: 1}, m); !strings.HasPrefix(a, "REPLY fd01::") {
				t.Errorf("machine %d: got %s", i, a)
			}
		}
		if len(told) != 1 || !strings.Contains(told[0], "no address is free in subnet a") {
			t.Errorf("got the events %q", told)
		}
		e.end()
	})
}

func TestAddressesOfTheEdgeAndOfRoutersAreNobodys(t *testing.T) {
	s := subnetOf("a", "fd01::/64", "fd01::-fd01::3")
	s.Gateway = "fd01::3"
	play6(t, room(s), []turn6{
		{name: "the first", in: packet6{message: request6, xid: 1, asked: []string{"fd01::2"}}, want: "REPLY fd01::1 for"}, // fd01::2 is the edge's
		{name: "the next", in: packet6{message: solicit, mac: otherMAC, xid: 1}, want: "NoAddrsAvail"},
	})
	play6(t, room(subnetOf("a", "fd01::/64", "fd01::fdff:ffff:ffff:ff80-fd01::fdff:ffff:ffff:ffff")), []turn6{
		{name: "anycasts", in: packet6{message: solicit, xid: 1}, want: "NoAddrsAvail"},
	})
}

// expect6 checks that an answer has words in it.
func expect6(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// What one edge knows of a client's associations is not all that there may be.
func TestAReleaseAtAnotherEdgeFreesNothingThatAnAssociationOfAnotherMayHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFarm(t, one6())
		a, b := newEdge(t, f, "edge1"), newEdge(t, f, "edge2")
		have := []string{the6}
		expect6(t, "the boot program's", a.ask6(t, packet6{message: request6, xid: 1, ia: 1, class: "PXEClient"}, nil), "REPLY fd01::10 for 10m0s")
		time.Sleep(10 * time.Second)
		expect6(t, "its IP stack's, at another edge", b.ask6(t, packet6{message: request6, xid: 2, ia: 2, class: "PXEClient", asked: have}, nil), "REPLY fd01::10 for 10m0s")
		time.Sleep(10 * time.Second)
		expect6(t, "which gives it back", b.ask6(t, packet6{message: release6, xid: 3, ia: 2, asked: have}, nil), "REPLY Success")
		expect6(t, "another client", b.ask6(t, packet6{message: solicit, mac: otherMAC, xid: 4}, nil), "NoAddrsAvail")
		time.Sleep(5 * time.Minute)
		expect6(t, "the system's", b.ask6(t, packet6{message: request6, xid: 5, ia: 3, asked: have}, nil), "REPLY fd01::10 for 1h0m0s")
		time.Sleep(30 * time.Minute) // the boot program's is over
		expect6(t, "which it gives back", b.ask6(t, packet6{message: release6, xid: 6, ia: 3, asked: have}, nil), "REPLY Success")
		expect6(t, "another client then", b.ask6(t, packet6{message: solicit, mac: otherMAC, xid: 7}, nil), "ADVERTISE fd01::10")
		a.end()
		b.end()
	})
}

// The other way round: what another edge has told the client since, for an association that this one never heard of.
func TestAReleaseFreesNothingThatAnotherEdgeHasGivenSince(t *testing.T) {
	for _, again := range []bool{false, true} { // the association that is given back was prolonged after that
		t.Run(fmt.Sprint("prolonged ", again), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newTestFarm(t, one6())
				a, b := newEdge(t, f, "edge1"), newEdge(t, f, "edge2")
				have := []string{the6}
				expect6(t, "the boot program's", a.ask6(t, packet6{message: request6, xid: 1, ia: 1, class: "PXEClient"}, nil), "REPLY fd01::10 for 10m0s")
				time.Sleep(10 * time.Second)
				expect6(t, "the system's, at another edge", b.ask6(t, packet6{message: request6, xid: 2, ia: 2, asked: have}, nil), "REPLY fd01::10 for 1h0m0s")
				time.Sleep(10 * time.Second)
				if again {
					expect6(t, "the boot program's again", a.ask6(t, packet6{message: renew, xid: 3, ia: 1, class: "PXEClient", asked: have}, nil), "REPLY fd01::10 for 10m0s")
					time.Sleep(10 * time.Second)
				}
				expect6(t, "the boot program gives it back", a.ask6(t, packet6{message: release6, xid: 4, ia: 1, asked: have}, nil), "REPLY Success")
				for i, e := range []edge{a, b} {
					expect6(t, "another client", e.ask6(t, packet6{message: solicit, mac: otherMAC, xid: uint32(5 + i)}, nil), "NoAddrsAvail")
				}
				if again {
					a.end()
					b.end()
					return // both edges know of each other's now: it runs out by itself
				}
				time.Sleep(30 * time.Minute)
				expect6(t, "the system gives it back", b.ask6(t, packet6{message: release6, xid: 7, ia: 2, asked: have}, nil), "REPLY Success")
				expect6(t, "another client then", b.ask6(t, packet6{message: solicit, mac: otherMAC, xid: 8}, nil), "ADVERTISE fd01::10")
				a.end()
				b.end()
			})
		})
	}
}

func TestAssociationsAreBounded(t *testing.T) {
	a := newAssociations()
	for i := range maxAssociated + 10 {
		a.hold(replica.Tenant{Subnet: "a", Client: fmt.Sprint(i)}, "x", time.Hour, 0)
	}
	if n := a.all.Len(); n > maxAssociated {
		t.Errorf("%d clients are remembered", n)
	}
	one := replica.Tenant{Subnet: "a", Client: "one"}
	for i := range 3 * maxOfClient {
		a.hold(one, fmt.Sprint(i), time.Hour, 0)
	}
	if h, _ := a.all.Get(one); len(h.by) > maxOfClient {
		t.Errorf("%d associations of a client are remembered", len(h.by))
	}
	for i := range 3 * maxOfClient {
		if a.drop(one, fmt.Sprint(i), 0) {
			t.Errorf("association %d is the last, and nobody knows of those that were forgotten", i)
		}
	}
}
