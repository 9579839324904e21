package pool

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp6"
)

func TestWhatClientsOfIPv6AreAbout(t *testing.T) {
	for message, want := range map[dhcpv6.MessageType]want{
		dhcpv6.MessageTypeSolicit: discovering, dhcpv6.MessageTypeRequest: selecting, dhcpv6.MessageTypeRenew: renewing, dhcpv6.MessageTypeRebind: rebinding,
		dhcpv6.MessageTypeRelease: releasing, dhcpv6.MessageTypeDecline: declining, dhcpv6.MessageTypeInformationRequest: informing, dhcpv6.MessageTypeConfirm: informing,
	} {
		if got := read6(dhcp6.Client{Message: message}); got.want != want || got.lease {
			t.Errorf("%s: got %+v, want %d", message, got, want)
		}
	}
	if got := read6(dhcp6.Client{Message: dhcpv6.MessageTypeSolicit, IAs: []dhcp6.IA{{Code: dhcpv6.OptionIANA}}}); !got.lease {
		t.Errorf("one with an IA_NA: got %+v", got)
	}
}

func TestDecisionsOverIPv6(t *testing.T) {
	net := netip.MustParsePrefix("fd01::/64")
	near, far := netip.MustParseAddr("fd01::10"), netip.MustParseAddr("fd02::10")
	link := facts6{prefix: net, onLink: []netip.Prefix{net}}
	of := func(change func(*facts6)) facts6 { f := link; change(&f); return f }
	away := of(func(f *facts6) { f.away = true })
	quick := of(func(f *facts6) { f.quick, f.away = true, true })
	bound := of(func(f *facts6) { f.bound = true })
	for _, c := range []struct {
		name    string
		a       ask6
		f       facts6
		want    action
		address netip.Addr
		why     string
	}{
		{"it wants options only", ask6{want: discovering}, away, inform, netip.Addr{}, ""},
		{"it wants an address", ask6{want: discovering, lease: true}, link, search, netip.Addr{}, ""},
		{"while the farm is away", ask6{want: discovering, lease: true}, away, ignore, netip.Addr{}, "away"},
		{"at once, from the first edge", ask6{want: discovering, lease: true, rapid: true}, quick, bind, netip.Addr{}, ""},
		{"at once, from another edge", ask6{want: discovering, lease: true, rapid: true}, link, search, netip.Addr{}, ""},
		{"it takes an offer", ask6{want: selecting, asked: []netip.Addr{near}}, link, bind, netip.Addr{}, ""},
		{"it takes an offer of another link", ask6{want: selecting, asked: []netip.Addr{near, far}}, link, inform, netip.Addr{}, ""},
		{"it renews", ask6{want: renewing, asked: []netip.Addr{far, near}}, link, bind, near, ""},
		{"it rebinds an address of another link", ask6{want: rebinding, asked: []netip.Addr{far}}, bound, inform, netip.Addr{}, ""},
		{"it renews and names none", ask6{want: renewing}, bound, bind, netip.Addr{}, ""},
		{"it renews and has none", ask6{want: renewing}, link, inform, netip.Addr{}, ""},
		{"it gives back", ask6{want: releasing, asked: []netip.Addr{near}}, link, giveBack, netip.Addr{}, ""},
		{"somebody else uses it", ask6{want: declining, asked: []netip.Addr{near}}, link, reject, netip.Addr{}, ""},
		{"it wants to know", ask6{want: informing}, link, inform, netip.Addr{}, ""},
	} {
		if got := decide6(c.a, c.f); got.do != c.want || got.address != c.address || !strings.Contains(got.why, c.why) {
			t.Errorf("%s: got %s %s (%s), want %s %s", c.name, got.do, got.address, got.why, c.want, c.address)
		}
	}
}
