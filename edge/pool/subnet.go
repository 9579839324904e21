package pool

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/edge/dhcp"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	systemLease = 12 * time.Hour
	bootLease   = 10 * time.Minute
)

// subnet is a network as it is used here. Its pools, options and servers are of the family of its prefix.
type subnet struct {
	name           string
	prefix         netip.Prefix
	pools, exclude []span
	knownOnly      bool
	lease          dhcp.Lease // without an address
	system, boot   time.Duration
	options        map[uint8][]byte
	options6       map[uint16][]byte
	room           reach // of the pools, with IPv6
	classes        []class
	names          *kilnv1.DNSUpdate // nil: nothing is published in DNS
}

// class gives some clients something else.
type class struct {
	from    *kilnv1.ClientClass
	pools   []span // none: the subnet's
	time    time.Duration
	options map[uint8][]byte

	options6 map[uint16][]byte
	room     reach
}

// span is a range of addresses with both ends.
type span struct{ from, to netip.Addr }

func (s span) has(a netip.Addr) bool { return s.from.Compare(a) <= 0 && a.Compare(s.to) <= 0 }

func (s span) size() int {
	from, to := s.from.As4(), s.to.As4()
	n := func(b [4]byte) int { return int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3]) }
	return n(to) - n(from) + 1
}

func in(spans []span, a netip.Addr) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.has(a) })
}

// book finds subnets. It is made once for each intent and never changed.
type book struct {
	byName    map[string]*subnet
	byPrefix  map[netip.Prefix]*subnet
	byRelay   map[netip.Addr][]*subnet
	bits      []int                   // lengths of the prefixes, the longest first
	floating6 [][]string              // the same of IPv6
	reserved  map[netip.Addr][]string // hardware addresses of the machines with these fixed addresses of IPv6
	key       []byte                  // of the farm, by which addresses of IPv6 are chosen
	floating  [][]string              // hardware addresses of machines that are described and have no fixed address
	fixed     map[netip.Addr]bool     // addresses of IPv4 that are kept for machines
}

func newBook(in *kilnv1.Intent) *book {
	b := &book{byName: map[string]*subnet{}, byPrefix: map[netip.Prefix]*subnet{}, byRelay: map[netip.Addr][]*subnet{}, reserved: map[netip.Addr][]string{},
		key: in.GetTokenKey(), fixed: map[netip.Addr]bool{}}
	for _, text := range in.GetSubnets() {
		s := newSubnet(text)
		if s == nil || b.byPrefix[s.prefix] != nil {
			continue
		}
		b.byName[s.name], b.byPrefix[s.prefix] = s, s
		if !slices.Contains(b.bits, s.prefix.Bits()) {
			b.bits = append(b.bits, s.prefix.Bits())
		}
		for _, relay := range s.addresses(text.GetRelays()) {
			b.byRelay[relay] = append(b.byRelay[relay], s)
		}
	}
	slices.SortFunc(b.bits, func(x, y int) int { return cmp.Compare(y, x) })
	for _, m := range in.GetMachines() {
		if m.GetAddress() == "" {
			b.floating = append(b.floating, m.GetMacs())
		}
		if fixed, err := netip.ParsePrefix(m.GetAddress6()); err == nil {
			b.reserved[fixed.Addr()] = append(b.reserved[fixed.Addr()], m.GetMacs()...)
		} else {
			b.floating6 = append(b.floating6, m.GetMacs())
		}
		if a, ok := fixedOf(m.GetAddress()); ok {
			b.fixed[a] = true
		}
	}
	return b
}

// newSubnet is nil for what cannot be read: the farm takes no such thing.
func newSubnet(s *kilnv1.Subnet) *subnet {
	prefix, err := netip.ParsePrefix(s.GetPrefix())
	if err != nil || prefix.Addr().Is4In6() {
		return nil
	}
	n := &subnet{
		name: s.GetName(), prefix: prefix.Masked(), knownOnly: s.GetKnownOnly(), names: s.GetDnsUpdate(),
		system: seconds(s.GetLeaseSeconds(), systemLease), boot: seconds(s.GetBootLeaseSeconds(), bootLease),
	}
	n.pools, n.exclude = n.spans(s.GetPools()), n.spans(s.GetExclude())
	n.lease = dhcp.Lease{DNS: n.addresses(s.GetDns()), Domain: s.GetDomain(), NTP: n.addresses(s.GetNtp())}
	if routers := n.addresses([]string{s.GetGateway()}); len(routers) > 0 {
		n.lease.Router = routers[0]
	}
	for _, c := range s.GetClasses() {
		n.classes = append(n.classes, class{from: c, pools: n.spans(c.GetPools()), time: seconds(c.GetLeaseSeconds(), 0)})
	}
	n.setOptions(s)
	return n
}

// setOptions reads options, which have numbers of their own in each family, and with IPv6 how far pools reach.
func (s *subnet) setOptions(from *kilnv1.Subnet) {
	if s.prefix.Addr().Is4() {
		s.options = optionsOf(from.GetOptions())
	} else {
		s.options6, s.room = optionsOf6(from.GetOptions()), reachOf(s.pools, s.exclude)
	}
	for i := range s.classes {
		k := &s.classes[i]
		if s.prefix.Addr().Is4() {
			k.options = optionsOf(k.from.GetOptions())
		} else {
			k.options6, k.room = optionsOf6(k.from.GetOptions()), reachOf(k.pools, s.exclude)
		}
	}
}

func seconds(n uint32, otherwise time.Duration) time.Duration {
	if n == 0 {
		return otherwise
	}
	return min(time.Duration(n)*time.Second, longest)
}

func (s *subnet) spans(ranges []*kilnv1.AddressRange) []span {
	var out []span
	for _, r := range ranges {
		from, err := netip.ParseAddr(r.GetFrom())
		to, err2 := netip.ParseAddr(r.GetTo())
		if err == nil && err2 == nil && s.like(from) && s.like(to) && from.Compare(to) <= 0 {
			out = append(out, span{from, to})
		}
	}
	return out
}

// like says whether an address is of the subnet's family.
func (s *subnet) like(a netip.Addr) bool {
	return a.BitLen() == s.prefix.Addr().BitLen() && a.Zone() == ""
}

func (s *subnet) addresses(texts []string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil && s.like(a) {
			out = append(out, a)
		}
	}
	return out
}

// ownOptions are not for operators to set: they are what an answer is made of.
var ownOptions = []uint32{0, 50, 51, 52, 53, 54, 55, 57, 61, 82, 255}

func optionsOf(list []*kilnv1.DHCPOption) map[uint8][]byte {
	out := map[uint8][]byte{}
	for _, o := range list {
		if o.GetCode() <= 255 && !slices.Contains(ownOptions, o.GetCode()) && len(o.GetValue()) <= 255 && out[uint8(o.GetCode())] == nil {
			out[uint8(o.GetCode())] = o.GetValue()
		}
	}
	return out
}

// of is the subnet that an address is in, or nil.
func (b *book) of(a netip.Addr) *subnet {
	for _, bits := range b.bits {
		if p, err := a.Prefix(bits); err == nil && b.byPrefix[p] != nil {
			return b.byPrefix[p]
		}
	}
	return nil
}

// where are the subnets that a client may be in; several are on one segment. The first is where it gets a new address.
func (b *book) where(c dhcp.Client) []*subnet {
	var out []*subnet
	add := func(s *subnet) {
		if s != nil && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	switch {
	case c.Relay.Link.IsValid(): // RFC 3527 §3: before all others
		add(b.of(c.Relay.Link))
	case c.Subnet.IsValid():
		add(b.of(c.Subnet))
	case c.Gateway.IsValid():
		add(b.of(c.Gateway))
		for _, s := range b.byRelay[c.Gateway] {
			add(s)
		}
	case c.Address.IsValid() && c.Direct(): // it may be anywhere, and has the right address there (RFC 2131 §4.3.2)
		add(b.of(c.Address))
	default:
		for _, p := range c.Own {
			add(b.of(p.Addr()))
		}
	}
	return out
}

// classOf is the first class that fits, or nil.
func (s *subnet) classOf(c dhcp.Client, labels map[string]string) *class {
	for i := range s.classes {
		if fits(s.classes[i].from, c, labels) {
			return &s.classes[i]
		}
	}
	return nil
}

func fits(want *kilnv1.ClientClass, c dhcp.Client, labels map[string]string) bool {
	if !strings.HasPrefix(c.Class, want.GetVendorClass()) || want.GetUserClass() != "" && !slices.Contains(c.Classes, want.GetUserClass()) {
		return false
	}
	if want.GetArch() != 0 && !slices.Contains(c.Archs, uint16(want.GetArch()-1)) {
		return false
	}
	for key, value := range want.GetSelector() {
		if has, ok := labels[key]; !ok || has != value {
			return false
		}
	}
	return true
}

// given says whether clients of a class get the address; of any class with nil.
func (s *subnet) given(a netip.Addr, k *class) bool {
	if in(s.exclude, a) {
		return false
	}
	if k != nil && len(k.pools) > 0 {
		return in(k.pools, a)
	}
	return in(s.pools, a)
}

// ever says whether any client gets the address.
func (s *subnet) ever(a netip.Addr) bool {
	return s.given(a, nil) || slices.ContainsFunc(s.classes, func(k class) bool { return s.given(a, &k) })
}

// stockOf is where new addresses of a class come from, and how many there are at most.
func (s *subnet) stockOf(k *class) (name string, size int) {
	pools := s.pools
	if k != nil && len(k.pools) > 0 {
		name, pools = k.from.GetName(), k.pools
	}
	for _, p := range pools {
		size += p.size()
	}
	return name, size
}

// time is for how long a client gets an address: firmware and boot programs never give it back.
func (s *subnet) time(c dhcp.Client, k *class) time.Duration {
	switch {
	case c.Kind != dhcp.Plain:
		return s.boot
	case k != nil && k.time > 0:
		return k.time
	}
	return s.system
}

// with are the options of a class before those of the subnet.
func (s *subnet) with(k *class) map[uint8][]byte {
	out := map[uint8][]byte{}
	for code, value := range s.options {
		out[code] = value
	}
	if k != nil {
		for code, value := range k.options {
			out[code] = value
		}
	}
	return out
}

// poolsOf are the pools of a class that has some of its own, or the subnet's.
func (s *subnet) poolsOf(class string) []span {
	for _, k := range s.classes {
		if class != "" && k.from.GetName() == class && len(k.pools) > 0 {
			return k.pools
		}
	}
	return s.pools
}

// fixedOf reads the address that is kept for a machine; false where it is none of IPv4.
func fixedOf(text string) (netip.Addr, bool) {
	prefix, err := netip.ParsePrefix(text)
	return prefix.Addr(), err == nil && prefix.Addr().Is4()
}

// edges says whether an address is that of the network itself, or of its broadcasts (RFC 1122 §3.2.1.3, RFC 3021).
func (s *subnet) edges(a netip.Addr) bool {
	if s.prefix.Bits() > 30 {
		return false
	}
	next := a.Next()
	return a == s.prefix.Addr() || !next.IsValid() || !s.prefix.Contains(next)
}

// answerName is option 81 for a client that sent it, by the name that it has in DNS. Where nothing is published, the option is
// not known.
func (s *subnet) answerName(c dhcp.Client, name string) []byte {
	if s.names == nil {
		return nil
	}
	return c.FQDN.Answer(name)
}
