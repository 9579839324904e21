package pool

import (
	"net/netip"
	"slices"

	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/edge/pool/subnets"
)

// Link is where an edge hears a client of IPv6.
type Link struct {
	Own      []netip.Addr   // of the edge
	Networks []netip.Prefix // of the link; not asked for behind relays
	Rapid    bool           // this edge may bind at once what a client asks all for
}

// Fill6 adds to a machine's fixed address what the subnet that it is in says.
func (p *Pool) Fill6(c dhcp6.Client, address netip.Addr, labels map[string]string, plan *dhcp6.Plan) {
	if s := p.book.Load().Of(address); s != nil && s.Prefix.Addr().Is6() {
		s.Fill6(plan, s.ClassOf(subnets.Like(c), labels))
	}
}

// Fits6 says whether an address is of the network that a client is in, as far as that is known.
func (p *Pool) Fits6(c dhcp6.Client, link Link, address netip.Addr) bool {
	b := p.book.Load()
	where, s := b.Where6(c, link.Own, link.Networks), b.Of(address)
	return s == nil || len(where) == 0 || slices.Contains(where, s)
}
