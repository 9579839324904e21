package pool

import (
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/pool/decide"
	"github.com/kiln-farm/kiln/edge/pool/replica"
	"github.com/kiln-farm/kiln/edge/pool/subnets"
	"github.com/kiln-farm/kiln/edge/pool/terms"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	discover = dhcpv4.MessageTypeDiscover
	request  = dhcpv4.MessageTypeRequest
	release  = dhcpv4.MessageTypeRelease
	decline  = dhcpv4.MessageTypeDecline
	informs  = dhcpv4.MessageTypeInform
)

func TestWhatClientsAreAbout(t *testing.T) {
	names := map[decide.Want]string{decide.Nothing: "nothing", decide.Discovering: "discovering", decide.Selecting: "selecting", decide.Rebooting: "rebooting", decide.Renewing: "renewing",
		decide.Rebinding: "rebinding", decide.Releasing: "releasing", decide.Declining: "declining", decide.Informing: "informing"}
	for _, c := range []struct {
		name    string
		in      packet
		want    string
		address string
		foreign bool
	}{
		{"DISCOVER", packet{message: discover}, "discovering", "invalid IP", false},
		{"DISCOVER of an address", packet{message: discover, asked: "10.1.0.9"}, "discovering", "10.1.0.9", false},
		{"REQUEST of our offer", packet{message: request, asked: "10.1.0.9", server: "10.1.0.2"}, "selecting", "10.1.0.9", false},
		{"REQUEST of another's offer", packet{message: request, asked: "10.1.0.9", server: "10.1.0.3"}, "selecting", "10.1.0.9", true},
		{"REQUEST of an offer in a relay's name", packet{message: request, asked: "10.1.0.9", server: "10.9.0.1", giaddr: "10.9.0.1", relay: []byte{11, 4, 10, 9, 0, 1}}, "selecting", "10.1.0.9", false},
		{"REQUEST after a restart", packet{message: request, asked: "10.1.0.9"}, "rebooting", "10.1.0.9", false},
		{"REQUEST to us for more time", packet{message: request, ciaddr: "10.1.0.9", to: "10.1.0.2"}, "renewing", "10.1.0.9", false},
		{"REQUEST to all for more time", packet{message: request, ciaddr: "10.1.0.9"}, "rebinding", "10.1.0.9", false},
		{"REQUEST of nothing", packet{message: request}, "nothing", "invalid IP", false},
		{"RELEASE", packet{message: release, ciaddr: "10.1.0.9", server: "10.1.0.2"}, "releasing", "10.1.0.9", false},
		{"RELEASE of nothing", packet{message: release}, "nothing", "invalid IP", false},
		{"DECLINE", packet{message: decline, asked: "10.1.0.9", server: "10.1.0.2"}, "declining", "10.1.0.9", false},
		{"DECLINE of another's offer", packet{message: decline, asked: "10.1.0.9", server: "10.1.0.3"}, "declining", "10.1.0.9", true},
		{"INFORM", packet{message: informs, ciaddr: "10.1.0.9"}, "informing", "10.1.0.9", false},
		{"INFORM without an address", packet{message: informs}, "nothing", "invalid IP", false},
	} {
		c.in.mac = pcMAC
		got := decide.Read(c.in.classify(t, own))
		if names[got.Want] != c.want || got.About.String() != c.address && c.want != "nothing" || got.Foreign != c.foreign {
			t.Errorf("%s: got %s of %s, foreign %v", c.name, names[got.Want], got.About, got.Foreign)
		}
	}
}

func TestDecisions(t *testing.T) {
	s := subnets.NewSubnet(subnetOf("a", "10.1.0.0/24", "10.1.0.10-10.1.0.20"))
	known := subnets.NewSubnet(subnetOf("k", "10.1.0.0/24", "10.1.0.10-10.1.0.20"))
	known.KnownOnly = true
	ten, eleven, far, out := netip.MustParseAddr("10.1.0.10"), netip.MustParseAddr("10.1.0.11"), netip.MustParseAddr("10.9.0.10"), netip.MustParseAddr("10.1.0.99")
	none := netip.Addr{}
	has := decide.Facts{Own: ten, Held: true, Free: true, Now: time.Hour}
	had := decide.Facts{Own: ten, Free: true, Now: time.Hour}
	just := decide.Facts{Own: ten, Held: true, Free: true, Now: time.Hour, Heard: time.Hour - time.Second}
	other := decide.Facts{Own: ten, Held: true, Free: true, Now: time.Hour, Other: true}
	for _, c := range []struct {
		name    string
		s       *subnets.Subnet
		a       decide.Ask
		f       decide.Facts
		want    decide.Action
		address netip.Addr
	}{
		{"a new client", s, decide.Ask{Want: decide.Discovering}, decide.Facts{}, decide.Search, none},
		{"a new client that asks for an address", s, decide.Ask{Want: decide.Discovering, About: eleven}, decide.Facts{}, decide.Search, eleven},
		{"a client that has one", s, decide.Ask{Want: decide.Discovering, About: eleven}, has, decide.Offer, ten},
		{"a client that had one", s, decide.Ask{Want: decide.Discovering}, had, decide.Offer, ten},
		{"a client whose address is another's by now", s, decide.Ask{Want: decide.Discovering}, decide.Facts{Own: ten}, decide.Search, none},
		{"a client whose address is in no pool any more", s, decide.Ask{Want: decide.Discovering}, decide.Facts{Own: out, Free: true}, decide.Search, none},
		{"a client that has one that is in no pool any more", s, decide.Ask{Want: decide.Discovering}, decide.Facts{Own: out, Held: true}, decide.Offer, out},
		{"a stranger where only machines that are described get one", known, decide.Ask{Want: decide.Discovering}, decide.Facts{}, decide.Ignore, none},
		{"one that is described", known, decide.Ask{Want: decide.Discovering}, decide.Facts{Known: true}, decide.Search, none},
		{"a stranger's REQUEST there", known, decide.Ask{Want: decide.Rebooting, About: ten}, decide.Facts{}, decide.Ignore, none},

		{"it takes the offer", s, decide.Ask{Want: decide.Selecting, About: ten}, decide.Facts{}, decide.Bind, ten},
		{"it takes another server's", s, decide.Ask{Want: decide.Selecting, About: ten, Foreign: true}, decide.Facts{}, decide.Ignore, none},
		{"it takes one of another network", s, decide.Ask{Want: decide.Selecting, About: far}, decide.Facts{}, decide.Refuse, none},
		{"it starts anew", s, decide.Ask{Want: decide.Rebooting, About: ten}, has, decide.Bind, ten},
		{"it starts anew somewhere else", s, decide.Ask{Want: decide.Rebooting, About: far}, has, decide.Refuse, none},
		{"it starts anew with another address than this edge knows: the farm knows better", s, decide.Ask{Want: decide.Rebooting, About: eleven}, has, decide.Bind, eleven},
		{"it renews", s, decide.Ask{Want: decide.Renewing, About: ten}, has, decide.Bind, ten},
		{"it rebinds", s, decide.Ask{Want: decide.Rebinding, About: ten}, had, decide.Bind, ten},
		{"it rebinds somewhere else", s, decide.Ask{Want: decide.Rebinding, About: far}, decide.Facts{}, decide.Refuse, none},

		{"it gives its address back", s, decide.Ask{Want: decide.Releasing, About: ten}, has, decide.GiveBack, ten},
		{"it gives another's back", s, decide.Ask{Want: decide.Releasing, About: eleven}, has, decide.Ignore, none},
		{"it gives back what it has not any more", s, decide.Ask{Want: decide.Releasing, About: ten}, had, decide.Ignore, none},
		{"it gives back what it has just got: the packet was overtaken", s, decide.Ask{Want: decide.Releasing, About: ten}, just, decide.Ignore, none},
		{"somebody else uses its address", s, decide.Ask{Want: decide.Declining, About: ten}, just, decide.Reject, ten},
		{"it declines late what it has from another edge by now", s, decide.Ask{Want: decide.Declining, About: ten}, other, decide.Ignore, none},
		{"it gives back what another edge has renewed", s, decide.Ask{Want: decide.Releasing, About: ten}, other, decide.GiveBack, ten},
		{"somebody else uses an address that is not its own", s, decide.Ask{Want: decide.Declining, About: eleven}, has, decide.Ignore, none},
		{"it wants to know", s, decide.Ask{Want: decide.Informing, About: out}, decide.Facts{}, decide.Inform, none},
	} {
		if got := decide.Decide(c.a, c.s, nil, c.f); got.Do != c.want || got.Address != c.address {
			t.Errorf("%s: got %s %s (%s), want %s %s", c.name, got.Do, got.Address, got.Why, c.want, c.address)
		}
	}
}

func TestWhereClientsAre(t *testing.T) {
	b := subnets.New(&kilnv1.Intent{Subnets: []*kilnv1.Subnet{
		subnetOf("a", "10.1.0.0/24"), subnetOf("b", "10.2.0.0/16"), subnetOf("c", "10.2.3.0/24"), subnetOf("six", "fd00::/64"),
		{Name: "d", Prefix: "10.4.0.0/24", Relays: []string{"192.0.2.1"}}, {Name: "e", Prefix: "10.5.0.0/24", Relays: []string{"192.0.2.1"}},
	}})
	second := netip.MustParsePrefix("10.4.0.2/24")
	for _, c := range []struct {
		name string
		in   packet
		own  []netip.Prefix
		want string
	}{
		{"on the interface", packet{message: discover}, []netip.Prefix{own}, "a"},
		{"on an interface with two networks", packet{message: discover}, []netip.Prefix{second, own}, "d a"},
		{"on one without", packet{message: discover}, []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}, ""},
		{"behind a relay", packet{message: discover, giaddr: "10.2.0.1"}, []netip.Prefix{own}, "b"},
		{"in the smaller of two networks", packet{message: discover, giaddr: "10.2.3.1"}, []netip.Prefix{own}, "c"},
		{"behind a relay that serves two", packet{message: discover, giaddr: "192.0.2.1"}, []netip.Prefix{own}, "d e"},
		{"behind a relay that nobody knows", packet{message: discover, giaddr: "192.0.2.9"}, []netip.Prefix{own}, ""},
		{"link selection", packet{message: discover, giaddr: "10.2.0.1", relay: []byte{5, 4, 10, 1, 0, 0}}, []netip.Prefix{own}, "a"},
		{"link selection of a network that nobody knows", packet{message: discover, giaddr: "10.2.0.1", relay: []byte{5, 4, 10, 9, 0, 0}}, []netip.Prefix{own}, ""},
		{"link selection by the client itself", packet{message: discover, relay: []byte{5, 4, 10, 2, 0, 0}}, []netip.Prefix{own}, "a"},
		{"malformed option 82", packet{message: discover, giaddr: "10.2.0.1", relay: []byte{5, 9, 10}}, []netip.Prefix{own}, "b"},
		{"subnet selection", packet{message: discover, giaddr: "10.2.0.1", subnet: []byte{10, 5, 0, 0}}, []netip.Prefix{own}, "e"},
		{"link selection before subnet selection", packet{message: discover, giaddr: "10.2.0.1", relay: []byte{5, 4, 10, 1, 0, 0}, subnet: []byte{10, 5, 0, 0}}, []netip.Prefix{own}, "a"},
		{"it renews across a router", packet{message: request, ciaddr: "10.2.0.9", to: "10.1.0.2"}, []netip.Prefix{own}, "b"},
		{"it renews by another interface", packet{message: request, ciaddr: "10.2.0.9", to: "10.4.0.2"}, []netip.Prefix{own}, "b"},
		{"it rebinds on our segment", packet{message: request, ciaddr: "10.2.0.9"}, []netip.Prefix{own}, "a"},
	} {
		c.in.mac = pcMAC
		got := ""
		for i, s := range b.Where(c.in.classify(t, c.own...)) {
			if i > 0 {
				got += " "
			}
			got += s.Name
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLeaseTimes(t *testing.T) {
	for _, told := range []time.Duration{time.Minute, 10 * time.Minute, 12 * time.Hour, replica.Longest} {
		if got := terms.Tell(told, terms.Committed(told)); got != told {
			t.Errorf("%s that are committed: a client is told %s", told, got)
		}
		if got := terms.Tell(told, told); got > told-terms.LeastMargin {
			t.Errorf("%s that are committed, without more: a client is told %s", told, got)
		}
		for _, client := range []string{"mac a", "mac b", "mac ff:ff:ff:ff:ff:ff"} {
			t1, t2 := terms.Renewal(told, client)
			if t1 < told*4/10 || t1 > told*6/10 || t2 <= t1 || t2 >= told {
				t.Errorf("%s for %s: T1 %s, T2 %s", told, client, t1, t2)
			}
		}
	}
}
