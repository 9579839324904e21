package pool

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/edge/pool/decide"
)

func TestWhatClientsOfIPv6AreAbout(t *testing.T) {
	for message, want := range map[dhcpv6.MessageType]decide.Want{
		dhcpv6.MessageTypeSolicit: decide.Discovering, dhcpv6.MessageTypeRequest: decide.Selecting, dhcpv6.MessageTypeRenew: decide.Renewing, dhcpv6.MessageTypeRebind: decide.Rebinding,
		dhcpv6.MessageTypeRelease: decide.Releasing, dhcpv6.MessageTypeDecline: decide.Declining, dhcpv6.MessageTypeInformationRequest: decide.Informing, dhcpv6.MessageTypeConfirm: decide.Informing,
	} {
		if got := decide.Read6(dhcp6.Client{Message: message}); got.Want != want || got.Lease {
			t.Errorf("%s: got %+v, want %d", message, got, want)
		}
	}
	if got := decide.Read6(dhcp6.Client{Message: dhcpv6.MessageTypeSolicit, IAs: []dhcp6.IA{{Code: dhcpv6.OptionIANA}}}); !got.Lease {
		t.Errorf("one with an IA_NA: got %+v", got)
	}
}

func TestDecisionsOverIPv6(t *testing.T) {
	net := netip.MustParsePrefix("fd01::/64")
	near, far := netip.MustParseAddr("fd01::10"), netip.MustParseAddr("fd02::10")
	link := decide.Facts6{Prefix: net, OnLink: []netip.Prefix{net}}
	of := func(change func(*decide.Facts6)) decide.Facts6 { f := link; change(&f); return f }
	away := of(func(f *decide.Facts6) { f.Away = true })
	quick := of(func(f *decide.Facts6) { f.Quick, f.Away = true, true })
	bound := of(func(f *decide.Facts6) { f.Bound = true })
	for _, c := range []struct {
		name    string
		a       decide.Ask6
		f       decide.Facts6
		want    decide.Action
		address netip.Addr
		why     string
	}{
		{"it wants options only", decide.Ask6{Want: decide.Discovering}, away, decide.Inform, netip.Addr{}, ""},
		{"it wants an address", decide.Ask6{Want: decide.Discovering, Lease: true}, link, decide.Search, netip.Addr{}, ""},
		{"while the farm is away", decide.Ask6{Want: decide.Discovering, Lease: true}, away, decide.Ignore, netip.Addr{}, "away"},
		{"at once, from the first edge", decide.Ask6{Want: decide.Discovering, Lease: true, Rapid: true}, quick, decide.Bind, netip.Addr{}, ""},
		{"at once, from another edge", decide.Ask6{Want: decide.Discovering, Lease: true, Rapid: true}, link, decide.Search, netip.Addr{}, ""},
		{"it takes an offer", decide.Ask6{Want: decide.Selecting, Asked: []netip.Addr{near}}, link, decide.Bind, netip.Addr{}, ""},
		{"it takes an offer of another link", decide.Ask6{Want: decide.Selecting, Asked: []netip.Addr{near, far}}, link, decide.Inform, netip.Addr{}, ""},
		{"it renews", decide.Ask6{Want: decide.Renewing, Asked: []netip.Addr{far, near}}, link, decide.Bind, near, ""},
		{"it rebinds an address of another link", decide.Ask6{Want: decide.Rebinding, Asked: []netip.Addr{far}}, bound, decide.Inform, netip.Addr{}, ""},
		{"it renews and names none", decide.Ask6{Want: decide.Renewing}, bound, decide.Bind, netip.Addr{}, ""},
		{"it renews and has none", decide.Ask6{Want: decide.Renewing}, link, decide.Inform, netip.Addr{}, ""},
		{"it gives back", decide.Ask6{Want: decide.Releasing, Asked: []netip.Addr{near}}, link, decide.GiveBack, netip.Addr{}, ""},
		{"somebody else uses it", decide.Ask6{Want: decide.Declining, Asked: []netip.Addr{near}}, link, decide.Reject, netip.Addr{}, ""},
		{"it wants to know", decide.Ask6{Want: decide.Informing}, link, decide.Inform, netip.Addr{}, ""},
	} {
		if got := decide.Decide6(c.a, c.f); got.Do != c.want || got.Address != c.address || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: got %s %s (%s), want %s %s", c.name, got.Do, got.Address, got.Why, c.want, c.address)
		}
	}
}
