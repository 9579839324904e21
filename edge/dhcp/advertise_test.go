package dhcp

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var near = netip.MustParseAddr("fe80::5054:ff:fe77:1")

func TestSolicitationsAreAnswered(t *testing.T) {
	solicit := "\x85\x00\x00\x00\x00\x00\x00\x00"
	withAddress := solicit + "\x01\x01\x52\x54\x00\x77\x00\x01"
	advert := "\x86\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	prefix := "\x03\x04\x40\xc0" + string(make([]byte, 28))
	for _, c := range []struct {
		name   string
		heard  []string // packets before
		packet string
		hops   int
		source string
		after  time.Duration
		want   string
	}{
		{"a solicitation", nil, withAddress, 255, "fe80::1", 0, "fe80::1"},
		{"one without the sender's address", nil, solicit, 255, "fe80::1", 0, "fe80::1"},
		{"one of a client without an address", nil, solicit, 255, "::", 0, "ff02::1"},
		{"the same again at once", []string{solicit}, solicit, 255, "::", time.Second, "<nil>"},
		{"the same again later", []string{solicit}, solicit, 255, "::", 3 * time.Second, "ff02::1"},
		{"one from afar", nil, withAddress, 254, "fe80::1", 0, "<nil>"},
		{"a short one", nil, solicit[:7], 255, "fe80::1", 0, "<nil>"},
		{"one with an option of no length", nil, solicit + "\x01\x00\x52\x54\x00\x77\x00\x01", 255, "fe80::1", 0, "<nil>"},
		{"one with half an option", nil, solicit + "\x01\x02\x52\x54\x00\x77\x00\x01", 255, "fe80::1", 0, "<nil>"},
		{"one that contradicts itself", nil, withAddress, 255, "::", 0, "<nil>"},
		{"another packet", nil, "\x87" + withAddress[1:], 255, "fe80::1", 0, "<nil>"},
		{"beside a router with a lifetime", []string{advert[:6] + "\x07\x08" + advert[8:]}, withAddress, 255, "fe80::1", time.Minute, "<nil>"},
		{"beside a router that has DHCPv6", []string{advert[:5] + "\x80" + advert[6:]}, withAddress, 255, "fe80::1", time.Minute, "<nil>"},
		{"beside a router with a prefix", []string{advert + prefix}, withAddress, 255, "fe80::1", time.Minute, "<nil>"},
		{"long after that router was heard", []string{advert + prefix}, withAddress, 255, "fe80::1", time.Hour, "fe80::1"},
		{"beside another edge", []string{advert, advert + "\x01\x01\x52\x54\x00\x77\x00\x01"}, withAddress, 255, "fe80::1", 0, "fe80::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, now := &nic{}, time.Unix(1e9, 0)
			source := netip.MustParseAddr(c.source)
			for _, p := range c.heard {
				n.hear(now, []byte(p), 255, source)
			}
			if got := n.hear(now.Add(c.after), []byte(c.packet), c.hops, source); got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAnAdvertisementOffersNothing(t *testing.T) {
	b := advertisement(net.HardwareAddr{2, 0, 0, 0, 0, 3}, Offer{})
	if router(b, 255) || b[0] != routerAdvertisement || len(b) != 24 || string(b[16:]) != "\x01\x01\x02\x00\x00\x00\x00\x03" {
		t.Errorf("got %x", b)
	}
}

// some is an offer of everything.
func some() Offer {
	return Offer{Managed: true, Other: true, Lifetime: 30 * time.Minute, DNS: []netip.Addr{netip.MustParseAddr("fd77::53")}, Prefixes: []Prefix{
		{Prefix: netip.MustParsePrefix("fd77::1/64"), OnLink: true, Autonomous: true, Valid: 2 * time.Hour, Preferred: time.Hour},
		{Prefix: netip.MustParsePrefix("fd78::/48"), Valid: time.Hour},
	}}
}

func TestAnAdvertisementOffersWhatItIsToldTo(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 3}
	const address, prefix = "0101020000000003", "fd770000000000000000000000000000"
	for _, c := range []struct {
		name  string
		offer Offer
		want  string // in hexadecimal digits: type, code, checksum, hop limit, flags, lifetime, times, options
	}{
		{"DHCPv6", Offer{Managed: true, Other: true}, "86000000 00c00000 0000000000000000" + address},
		{"options only", Offer{Other: true}, "86000000 00400000 0000000000000000" + address},
		{"a router", Offer{Lifetime: time.Minute}, "86000000 0000003c 0000000000000000" + address},
		{"a router for ever", Offer{Lifetime: 1000 * time.Hour}, "86000000 0000ffff 0000000000000000" + address},
		{"a network of the link", Offer{Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("fd77::1/64"), OnLink: true, Valid: time.Hour, Preferred: time.Minute}}},
			"86000000 00000000 0000000000000000" + address + "03044080 00000e10 0000003c 00000000" + prefix},
		{"all", some(), "86000000 00c00708 0000000000000000" + address + "030440c0 00001c20 00000e10 00000000" + prefix +
			"03043000 00000e10 00000000 00000000 fd780000000000000000000000000000" + "19030000 0000021c fd770000000000000000000000000053"},
	} {
		if got := hex.EncodeToString(advertisement(mac, c.offer)); got != strings.ReplaceAll(c.want, " ", "") {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, strings.ReplaceAll(c.want, " ", ""))
		}
	}
}

func TestEdgesOfARoomDoNotSilenceEachOther(t *testing.T) {
	edge, router := net.HardwareAddr{2, 0, 0, 0, 0, 9}, some()
	router.Prefixes = router.Prefixes[1:]
	for _, c := range []struct {
		name  string
		heard Offer
		want  string
	}{
		{"another edge", some(), "fe80::1"},
		{"a router with other networks", router, "<nil>"},
		{"a router that has no DHCPv6", Offer{Lifetime: time.Hour}, "<nil>"},
		{"an edge that offers nothing", Offer{}, "fe80::1"},
	} {
		n, now := &nic{offer: some()}, time.Unix(1e9, 0)
		source := netip.MustParseAddr("fe80::1")
		n.hear(now, advertisement(edge, c.heard), nearHops, source)
		if got := n.hear(now.Add(time.Second), []byte{routerSolicitation, 0, 0, 0, 0, 0, 0, 0}, nearHops, source); got.String() != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func FuzzSolicitation(f *testing.F) {
	f.Add([]byte("\x85\x00\x00\x00\x00\x00\x00\x00\x01\x01\x52\x54\x00\x77\x00\x01"))
	f.Add(advertisement(net.HardwareAddr{2, 0, 0, 0, 0, 3}, Offer{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		(&nic{offer: some()}).hear(time.Unix(1e9, 0), b, nearHops, near) // compares it with what it offers
		if (&nic{}).hear(time.Unix(1e9, 0), b, nearHops, near) != nil && (len(b) < 8 || b[0] != routerSolicitation) {
			t.Errorf("%x was answered", b)
		}
	})
}
