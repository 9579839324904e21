package pool

import (
	"net/netip"
	"slices"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/dhcp6"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// ownOptions6 are what an answer of DHCPv6 is made of.
var ownOptions6 = []uint32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 18, 19, 20, 25, 26, 59, 60, 61, 62}

const longestOption6 = 1024 // bytes

func optionsOf6(list []*kilnv1.DHCPOption) map[uint16][]byte {
	out := map[uint16][]byte{}
	for _, o := range list {
		if o.GetCode() < 1<<16 && !slices.Contains(ownOptions6, o.GetCode()) && len(o.GetValue()) <= longestOption6 && out[uint16(o.GetCode())] == nil {
			out[uint16(o.GetCode())] = o.GetValue()
		}
	}
	return out
}

// where6 are the subnets that a client may be in who is heard by an edge with own addresses, and on networks when no relay says which; the first is where it gets a new address.
func (b *book) where6(c dhcp6.Client, own []netip.Addr, networks []netip.Prefix) []*subnet {
	var out []*subnet
	add := func(s *subnet) {
		if s != nil && s.prefix.Addr().Is6() && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if c.Relayed && c.Link.IsValid() {
		add(b.of(c.Link))
		for _, s := range b.byRelay[c.Link] {
			add(s)
		}
		return out
	}
	for _, a := range own {
		add(b.of(a))
	}
	for _, n := range networks {
		add(b.of(n.Addr()))
	}
	return out
}

// like is what a client of IPv6 says, as classes and lease times go by it.
func like(c dhcp6.Client) dhcp.Client {
	return dhcp.Client{Kind: c.Kind, Class: c.Class, Classes: c.Classes, Archs: c.Archs}
}

// roomOf is where new addresses of a class come from.
func (s *subnet) roomOf(k *class) (name string, r reach) {
	if k != nil && len(k.pools) > 0 {
		return k.from.GetName(), k.room
	}
	return "", s.room
}

// unfit are addresses that no machine may have: of all routers of the network (RFC 4291 §2.6.1), and of anycasts (RFC 5453 §3).
func (s *subnet) unfit(a netip.Addr) bool {
	b := a.As16()
	anycast := [7]byte(b[8:15]) == [7]byte{0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} && b[15] >= 0x80
	return s.prefix.Bits() < 127 && a == s.prefix.Addr() || s.prefix.Bits() <= 64 && anycast
}

// reservedFor says whether an address is fixed for another machine than that of a MAC.
func (b *book) reservedFor(a netip.Addr, mac string) bool {
	macs, ok := b.reserved[a]
	return ok && !slices.Contains(macs, mac)
}

// fill6 adds to a plan what the subnet says.
func (s *subnet) fill6(plan *dhcp6.Plan, k *class) {
	if len(plan.DNS) == 0 {
		plan.DNS = s.lease.DNS
	}
	if len(plan.NTP) == 0 {
		plan.NTP = s.lease.NTP
	}
	if len(plan.Domains) == 0 && s.lease.Domain != "" {
		plan.Domains = []string{s.lease.Domain}
	}
	plan.Options = map[uint16][]byte{}
	for code, value := range s.options6 {
		plan.Options[code] = value
	}
	if k != nil {
		for code, value := range k.options6 {
			plan.Options[code] = value
		}
	}
}
