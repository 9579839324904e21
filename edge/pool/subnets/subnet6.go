package subnets

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

// Where6 are the subnets that a client may be in who is heard by an edge with own addresses, and on networks when no relay says which; the first is where it gets a new address.
func (b *Book) Where6(c dhcp6.Client, own []netip.Addr, networks []netip.Prefix) []*Subnet {
	var out []*Subnet
	add := func(s *Subnet) {
		if s != nil && s.Prefix.Addr().Is6() && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if c.Relayed && c.Link.IsValid() {
		add(b.Of(c.Link))
		for _, s := range b.byRelay[c.Link] {
			add(s)
		}
		return out
	}
	for _, a := range own {
		add(b.Of(a))
	}
	for _, n := range networks {
		add(b.Of(n.Addr()))
	}
	return out
}

// Like is what a client of IPv6 says, as classes and lease times go by it.
func Like(c dhcp6.Client) dhcp.Client {
	return dhcp.Client{Kind: c.Kind, Class: c.Class, Classes: c.Classes, Archs: c.Archs}
}

// RoomOf is where new addresses of a class come from.
func (s *Subnet) RoomOf(k *Class) (name string, r Reach) {
	if k != nil && len(k.pools) > 0 {
		return k.from.GetName(), k.room
	}
	return "", s.room
}

// Unfit are addresses that no machine may have: of all routers of the network (RFC 4291 §2.6.1), and of anycasts (RFC 5453 §3).
func (s *Subnet) Unfit(a netip.Addr) bool {
	b := a.As16()
	anycast := [7]byte(b[8:15]) == [7]byte{0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} && b[15] >= 0x80
	return s.Prefix.Bits() < 127 && a == s.Prefix.Addr() || s.Prefix.Bits() <= 64 && anycast
}

// ReservedFor says whether an address is fixed for another machine than that of a MAC.
func (b *Book) ReservedFor(a netip.Addr, mac string) bool {
	macs, ok := b.reserved[a]
	return ok && !slices.Contains(macs, mac)
}

// Fill6 adds to a plan what the subnet says.
func (s *Subnet) Fill6(plan *dhcp6.Plan, k *Class) {
	if len(plan.DNS) == 0 {
		plan.DNS = s.Lease.DNS
	}
	if len(plan.NTP) == 0 {
		plan.NTP = s.Lease.NTP
	}
	if len(plan.Domains) == 0 && s.Lease.Domain != "" {
		plan.Domains = []string{s.Lease.Domain}
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
