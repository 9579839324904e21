package fleet

import (
	"cmp"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Range reads addresses as people write them: "10.0.0.100-10.0.0.199", "10.0.0.128/25" or "10.0.0.7".
func Range(s string) (*kilnv1.AddressRange, error) {
	from, to, ok := strings.Cut(s, "-")
	if p, err := netip.ParsePrefix(s); err == nil {
		if p != p.Masked() {
			return nil, fmt.Errorf("%s is a prefix that begins within; write %q", quote(s), p.Masked())
		}
		return &kilnv1.AddressRange{From: p.Addr().String(), To: lastOf(p).String()}, nil
	}
	if !ok {
		to = from
	}
	a, err := netip.ParseAddr(strings.TrimSpace(from))
	b, err2 := netip.ParseAddr(strings.TrimSpace(to))
	if err != nil || err2 != nil || a.Zone() != "" || b.Zone() != "" {
		return nil, fmt.Errorf("%s are no addresses; write them like \"10.0.0.100-10.0.0.199\" or \"10.0.0.128/25\"", quote(s))
	}
	return &kilnv1.AddressRange{From: a.String(), To: b.String()}, nil
}

// RangeText is a range as people write it.
func RangeText(r *kilnv1.AddressRange) string {
	if r.GetFrom() == r.GetTo() {
		return r.GetFrom()
	}
	return r.GetFrom() + "-" + r.GetTo()
}

// span is the addresses of a range.
type span struct{ from, to netip.Addr }

// spanOf is false for what is no range: the end before the begin, or of two families.
func spanOf(r *kilnv1.AddressRange) (span, bool) {
	from, err := netip.ParseAddr(r.GetFrom())
	to, err2 := netip.ParseAddr(r.GetTo())
	ok := err == nil && err2 == nil && from.Zone() == "" && to.Zone() == "" && from.BitLen() == to.BitLen() && from.Compare(to) <= 0
	return span{from, to}, ok
}

func (s span) has(a netip.Addr) bool {
	return s.from.BitLen() == a.BitLen() && s.from.Compare(a) <= 0 && a.Compare(s.to) <= 0
}

func (s span) meets(o span) bool {
	return s.from.BitLen() == o.from.BitLen() && s.from.Compare(o.to) <= 0 && o.from.Compare(s.to) <= 0
}

// lastOf is the last address of a prefix: of IPv4 the broadcast address.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Pooled are the addresses that a subnet and its classes give, without what is excluded. There may be more of IPv6 than 64
// bits count.
type Pooled struct{ spans []span }

// PooledOf leaves out what is no range.
func PooledOf(s *kilnv1.Subnet) Pooled {
	var in, out []span
	add := func(to *[]span, ranges []*kilnv1.AddressRange) {
		for _, r := range ranges {
			if one, ok := spanOf(r); ok {
				*to = append(*to, one)
			}
		}
	}
	add(&in, s.GetPools())
	for _, c := range s.GetClasses() {
		add(&in, c.GetPools())
	}
	add(&out, s.GetExclude())
	all := merge(in)
	for _, x := range merge(out) {
		var left []span
		for _, s := range all {
			if !s.meets(x) {
				left = append(left, s)
				continue
			}
			if s.from.Less(x.from) {
				left = append(left, span{s.from, x.from.Prev()})
			}
			if x.to.Less(s.to) {
				left = append(left, span{x.to.Next(), s.to})
			}
		}
		all = left
	}
	return Pooled{all}
}

// merge makes one span of those that meet, in their order.
func merge(all []span) []span {
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to)) })
	var out []span
	for _, s := range all {
		if n := len(out); n > 0 && out[n-1].meets(s) {
			if out[n-1].to.Less(s.to) {
				out[n-1].to = s.to
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// Has says whether an address is one of them.
func (p Pooled) Has(a netip.Addr) bool {
	return slices.ContainsFunc(p.spans, func(s span) bool { return s.has(a) })
}

// Count is how many they are.
func (p Pooled) Count() *big.Int {
	n := new(big.Int)
	for _, s := range p.spans {
		from, to := new(big.Int).SetBytes(s.from.AsSlice()), new(big.Int).SetBytes(s.to.AsSlice())
		n.Add(n, to.Sub(to, from)).Add(n, big.NewInt(1))
	}
	return n
}

// Networks finds subnets by addresses. Of two whose prefixes meet the longer counts.
type Networks struct {
	all  map[netip.Prefix]*kilnv1.Subnet
	bits []int // of any prefix, the longest first
}

// NetworksOf leaves out subnets whose prefix is none.
func NetworksOf(subnets []*kilnv1.Subnet) Networks {
	n := Networks{all: map[netip.Prefix]*kilnv1.Subnet{}}
	for _, s := range subnets {
		p, err := netip.ParsePrefix(s.GetPrefix())
		if err != nil {
			continue
		}
		if n.all[p.Masked()] == nil {
			n.all[p.Masked()] = s
		}
		if !slices.Contains(n.bits, p.Bits()) {
			n.bits = append(n.bits, p.Bits())
		}
	}
	slices.SortFunc(n.bits, func(a, b int) int { return b - a })
	return n
}

// Of is the subnet that an address is in, or nil.
func (n Networks) Of(a netip.Addr) *kilnv1.Subnet {
	for _, bits := range n.bits {
		if p, err := a.Prefix(bits); err == nil && n.all[p] != nil {
			return n.all[p]
		}
	}
	return nil
}
