package subnets

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/pool/replica"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	systemLease = 12 * time.Hour
	bootLease   = 10 * time.Minute
)

// Subnet is a network as it is used here. Its pools, options and servers are of the family of its prefix.
type Subnet struct {
	Name           string
	Prefix         netip.Prefix
	pools, Exclude []Span
	KnownOnly      bool
	Lease          dhcp.Lease // without an address
	system, boot   time.Duration
	Options        map[uint8][]byte
	options6       map[uint16][]byte
	room           Reach // of the pools, with IPv6
	classes        []Class
	Names          *kilnv1.DNSUpdate // nil: nothing is published in DNS
}

// Class gives some clients something else.
type Class struct {
	from    *kilnv1.ClientClass
	pools   []Span // none: the subnet's
	time    time.Duration
	options map[uint8][]byte

	options6 map[uint16][]byte
	room     Reach
}

// Span is a range of addresses with both ends.
type Span struct{ From, To netip.Addr }

// Has says whether an address is in it.
func (s Span) Has(a netip.Addr) bool { return s.From.Compare(a) <= 0 && a.Compare(s.To) <= 0 }

func (s Span) size() int {
	from, to := s.From.As4(), s.To.As4()
	n := func(b [4]byte) int { return int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3]) }
	return n(to) - n(from) + 1
}

// In says whether an address is in one of spans.
func In(spans []Span, a netip.Addr) bool {
	return slices.ContainsFunc(spans, func(s Span) bool { return s.Has(a) })
}

// Book finds subnets. It is made once for each intent and never changed.
type Book struct {
	ByName    map[string]*Subnet
	byPrefix  map[netip.Prefix]*Subnet
	byRelay   map[netip.Addr][]*Subnet
	bits      []int                   // lengths of the prefixes, the longest first
	Floating6 [][]string              // the same of IPv6
	reserved  map[netip.Addr][]string // hardware addresses of the machines with these fixed addresses of IPv6
	Key       []byte                  // of the farm, by which addresses of IPv6 are chosen
	Floating  [][]string              // hardware addresses of machines that are described and have no fixed address
	Fixed     map[netip.Addr]bool     // addresses of IPv4 that are kept for machines
}

// New makes a Book of an intent. What cannot be read is left out: the farm takes no such thing.
func New(in *kilnv1.Intent) *Book {
	b := &Book{ByName: map[string]*Subnet{}, byPrefix: map[netip.Prefix]*Subnet{}, byRelay: map[netip.Addr][]*Subnet{}, reserved: map[netip.Addr][]string{},
		Key: in.GetTokenKey(), Fixed: map[netip.Addr]bool{}}
	for _, text := range in.GetSubnets() {
		s := NewSubnet(text)
		if s == nil || b.byPrefix[s.Prefix] != nil {
			continue
		}
		b.ByName[s.Name], b.byPrefix[s.Prefix] = s, s
		if !slices.Contains(b.bits, s.Prefix.Bits()) {
			b.bits = append(b.bits, s.Prefix.Bits())
		}
		for _, relay := range s.Addresses(text.GetRelays()) {
			b.byRelay[relay] = append(b.byRelay[relay], s)
		}
	}
	slices.SortFunc(b.bits, func(x, y int) int { return cmp.Compare(y, x) })
	for _, m := range in.GetMachines() {
		if m.GetAddress() == "" {
			b.Floating = append(b.Floating, m.GetMacs())
		}
		if fixed, err := netip.ParsePrefix(m.GetAddress6()); err == nil {
			b.reserved[fixed.Addr()] = append(b.reserved[fixed.Addr()], m.GetMacs()...)
		} else {
			b.Floating6 = append(b.Floating6, m.GetMacs())
		}
		if a, ok := fixedOf(m.GetAddress()); ok {
			b.Fixed[a] = true
		}
	}
	return b
}

// NewSubnet is nil for what cannot be read: the farm takes no such thing.
func NewSubnet(s *kilnv1.Subnet) *Subnet {
	prefix, err := netip.ParsePrefix(s.GetPrefix())
	if err != nil || prefix.Addr().Is4In6() {
		return nil
	}
	n := &Subnet{
		Name: s.GetName(), Prefix: prefix.Masked(), KnownOnly: s.GetKnownOnly(), Names: s.GetDnsUpdate(),
		system: seconds(s.GetLeaseSeconds(), systemLease), boot: seconds(s.GetBootLeaseSeconds(), bootLease),
	}
	n.pools, n.Exclude = n.Spans(s.GetPools()), n.Spans(s.GetExclude())
	n.Lease = dhcp.Lease{DNS: n.Addresses(s.GetDns()), Domain: s.GetDomain(), NTP: n.Addresses(s.GetNtp())}
	if routers := n.Addresses([]string{s.GetGateway()}); len(routers) > 0 {
		n.Lease.Router = routers[0]
	}
	for _, c := range s.GetClasses() {
		n.classes = append(n.classes, Class{from: c, pools: n.Spans(c.GetPools()), time: seconds(c.GetLeaseSeconds(), 0)})
	}
	n.setOptions(s)
	return n
}

// setOptions reads options, which have numbers of their own in each family, and with IPv6 how far pools reach.
func (s *Subnet) setOptions(from *kilnv1.Subnet) {
	if s.Prefix.Addr().Is4() {
		s.Options = optionsOf(from.GetOptions())
	} else {
		s.options6, s.room = optionsOf6(from.GetOptions()), reachOf(s.pools, s.Exclude)
	}
	for i := range s.classes {
		k := &s.classes[i]
		if s.Prefix.Addr().Is4() {
			k.options = optionsOf(k.from.GetOptions())
		} else {
			k.options6, k.room = optionsOf6(k.from.GetOptions()), reachOf(k.pools, s.Exclude)
		}
	}
}

func seconds(n uint32, otherwise time.Duration) time.Duration {
	if n == 0 {
		return otherwise
	}
	return min(time.Duration(n)*time.Second, replica.Longest)
}

// Spans reads ranges of the subnet's family.
func (s *Subnet) Spans(ranges []*kilnv1.AddressRange) []Span {
	var out []Span
	for _, r := range ranges {
		from, err := netip.ParseAddr(r.GetFrom())
		to, err2 := netip.ParseAddr(r.GetTo())
		if err == nil && err2 == nil && s.like(from) && s.like(to) && from.Compare(to) <= 0 {
			out = append(out, Span{from, to})
		}
	}
	return out
}

// like says whether an address is of the subnet's family.
func (s *Subnet) like(a netip.Addr) bool {
	return a.BitLen() == s.Prefix.Addr().BitLen() && a.Zone() == ""
}

// Addresses reads addresses of the subnet's family.
func (s *Subnet) Addresses(texts []string) []netip.Addr {
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

// Of is the subnet that an address is in, or nil.
func (b *Book) Of(a netip.Addr) *Subnet {
	for _, bits := range b.bits {
		if p, err := a.Prefix(bits); err == nil && b.byPrefix[p] != nil {
			return b.byPrefix[p]
		}
	}
	return nil
}

// Where are the subnets that a client may be in; several are on one segment. The first is where it gets a new address.
func (b *Book) Where(c dhcp.Client) []*Subnet {
	var out []*Subnet
	add := func(s *Subnet) {
		if s != nil && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	switch {
	case c.Relay.Link.IsValid(): // RFC 3527 §3: before all others
		add(b.Of(c.Relay.Link))
	case c.Subnet.IsValid():
		add(b.Of(c.Subnet))
	case c.Gateway.IsValid():
		add(b.Of(c.Gateway))
		for _, s := range b.byRelay[c.Gateway] {
			add(s)
		}
	case c.Address.IsValid() && c.Direct(): // it may be anywhere, and has the right address there (RFC 2131 §4.3.2)
		add(b.Of(c.Address))
	default:
		for _, p := range c.Own {
			add(b.Of(p.Addr()))
		}
	}
	return out
}

// ClassOf is the first class that fits, or nil.
func (s *Subnet) ClassOf(c dhcp.Client, labels map[string]string) *Class {
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

// Given says whether clients of a class get the address; of any class with nil.
func (s *Subnet) Given(a netip.Addr, k *Class) bool {
	if In(s.Exclude, a) {
		return false
	}
	if k != nil && len(k.pools) > 0 {
		return In(k.pools, a)
	}
	return In(s.pools, a)
}

// Ever says whether any client gets the address.
func (s *Subnet) Ever(a netip.Addr) bool {
	return s.Given(a, nil) || slices.ContainsFunc(s.classes, func(k Class) bool { return s.Given(a, &k) })
}

// StockOf is where new addresses of a class come from, and how many there are at most.
func (s *Subnet) StockOf(k *Class) (name string, size int) {
	pools := s.pools
	if k != nil && len(k.pools) > 0 {
		name, pools = k.from.GetName(), k.pools
	}
	for _, p := range pools {
		size += p.size()
	}
	return name, size
}

// Time is for how long a client gets an address: firmware and boot programs never give it back.
func (s *Subnet) Time(c dhcp.Client, k *Class) time.Duration {
	switch {
	case c.Kind != dhcp.Plain:
		return s.boot
	case k != nil && k.time > 0:
		return k.time
	}
	return s.system
}

// With are the options of a class before those of the subnet.
func (s *Subnet) With(k *Class) map[uint8][]byte {
	out := map[uint8][]byte{}
	for code, value := range s.Options {
		out[code] = value
	}
	if k != nil {
		for code, value := range k.options {
			out[code] = value
		}
	}
	return out
}

// PoolsOf are the pools of a class that has some of its own, or the subnet's.
func (s *Subnet) PoolsOf(class string) []Span {
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

// Edges says whether an address is that of the network itself, or of its broadcasts (RFC 1122 §3.2.1.3, RFC 3021).
func (s *Subnet) Edges(a netip.Addr) bool {
	if s.Prefix.Bits() > 30 {
		return false
	}
	next := a.Next()
	return a == s.Prefix.Addr() || !next.IsValid() || !s.Prefix.Contains(next)
}

// AnswerName is option 81 for a client that sent it, by the name that it has in DNS. Where nothing is published, the option is
// not known.
func (s *Subnet) AnswerName(c dhcp.Client, name string) []byte {
	if s.Names == nil {
		return nil
	}
	return c.FQDN.Answer(name)
}
