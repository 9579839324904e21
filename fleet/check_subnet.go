package fleet

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	maxSubnets = 4096
	maxClasses = 64
	maxRanges  = 1000 // of a subnet
	maxServers = 8
	minLease   = 10                 // seconds; clients renew after half of it
	maxLease   = 365 * 24 * 60 * 60 // seconds
)

// network is a subnet that is read.
type network struct {
	index   int
	prefix  netip.Prefix
	exclude []span
	pools   []pool
}

// pool is a range of a subnet, or of one of its classes.
type pool struct {
	span
	field, text, of string
}

func (c *checker) subnets() {
	if n := len(c.in.GetSubnets()); n > maxSubnets {
		c.object = Problem{Kind: kindIntent}
		c.complain("subnets", "there are %d subnets, more than %d; give some of them to another farm", n, maxSubnets)
		return
	}
	fixed := map[netip.Addr]bool{}
	for _, m := range c.in.GetMachines() {
		for _, text := range []string{m.GetAddress(), m.GetAddress6()} {
			if p, err := netip.ParsePrefix(text); err == nil {
				fixed[p.Addr()] = true
			}
		}
	}
	names, relays, keys := map[string]bool{}, map[string]string{}, map[[2]string]string{}
	var all []network
	for i, s := range c.in.GetSubnets() {
		c.at(KindSubnet, i, s.GetName())
		if c.must("name", objectName(s.GetName())) {
			if names[s.GetName()] {
				c.complain("name", "there is another subnet of that name; rename one of them")
			}
			names[s.GetName()] = true
		}
		for j, r := range s.GetRelays() {
			field := fmt.Sprintf("relays[%d]", j)
			if a, err := netip.ParseAddr(r); err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
				c.complain(field, "the relay %s is not an IP address; write it like \"10.9.0.1\"", quote(r))
			} else {
				c.once(relays, field, "the relay", a.String(), s.GetName())
			}
		}
		prefix, err := subnetPrefix(s.GetPrefix())
		if !c.must("prefix", err) {
			continue
		}
		n := network{index: i, prefix: prefix}
		c.times(s)
		c.pools(s, &n)
		c.servers(s, &n, fixed)
		c.classes(s, prefix.Addr().Is6())
		c.dnsUpdate(s, prefix, keys)
		all = append(all, n)
	}
	c.apart(all)
	c.fixed()
}

func subnetPrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch a := p.Addr(); {
	case err != nil || a.Zone() != "":
		return p, fmt.Errorf("%s is not a network; write it like \"10.0.0.0/24\"", quote(s))
	case p != p.Masked():
		return p, fmt.Errorf("the prefix %s is an address within; write the network, %q", quote(s), p.Masked())
	case p.Bits() == 0 || a.IsMulticast() || a.IsLoopback() || a.Is4In6() || a.IsLinkLocalUnicast():
		return p, fmt.Errorf("%s is no network of machines; write one like \"10.0.0.0/24\"", quote(s))
	}
	return p, nil
}

func (c *checker) times(s *kilnv1.Subnet) {
	check := func(field string, seconds uint32) {
		if seconds != 0 && (seconds < minLease || seconds > maxLease) {
			c.complain(field, "the lease time %s is not between %ds and %s; write one like \"12h\"", durationText(seconds), minLease, durationText(maxLease))
		}
	}
	check("lease", s.GetLeaseSeconds())
	check("boot_lease", s.GetBootLeaseSeconds())
	for i, class := range s.GetClasses() {
		check(fmt.Sprintf("classes[%d].lease", i), class.GetLeaseSeconds())
	}
}

// pools checks where a subnet's pools are, and reads them.
func (c *checker) pools(s *kilnv1.Subnet, n *network) {
	add := func(field, of string, ranges []*kilnv1.AddressRange) {
		for i, r := range ranges {
			if len(n.pools) >= maxRanges {
				c.complain(field, "there are more than %d pools; join those that meet", maxRanges)
				return
			}
			if one, ok := c.within(fmt.Sprintf("%s[%d]", field, i), "the pool "+quoteRange(r)+of, r, n.prefix); ok {
				n.pools = append(n.pools, pool{one, fmt.Sprintf("%s[%d]", field, i), RangeText(r), of})
			}
		}
	}
	add("pools", "", s.GetPools())
	for i, class := range s.GetClasses() {
		add(fmt.Sprintf("classes[%d].pools", i), " of class "+bare(class.GetName()), class.GetPools())
	}
	for _, p := range n.pools {
		first, last, v4 := n.prefix.Addr(), lastOf(n.prefix), n.prefix.Addr().Is4()
		switch {
		case n.prefix.Addr().BitLen()-n.prefix.Bits() < 2: // two hosts share it (RFC 3021, RFC 6164)
		case p.has(first):
			c.complain(p.field, "the pool %s%s holds %s, the network's own address; begin with %s", p.text, p.of, first, first.Next())
		case v4 && p.has(last):
			c.complain(p.field, "the pool %s%s holds %s, the broadcast address; end with %s", p.text, p.of, last, last.Prev())
		}
	}
	sorted := slices.Clone(n.pools)
	slices.SortStableFunc(sorted, func(a, b pool) int { return a.from.Compare(b.from) })
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		if a.meets(b.span) {
			if slices.Index(n.pools, a) > slices.Index(n.pools, b) {
				a, b = b, a
			}
			c.complain(b.field, "the pool %s%s overlaps the pool %s%s; give each address to one of them", b.text, b.of, a.text, a.of)
		}
	}
	for i, r := range s.GetExclude() {
		field := fmt.Sprintf("exclude[%d]", i)
		if i >= maxRanges {
			c.complain(field, "there are more than %d ranges that are excluded; join those that meet", maxRanges)
			return
		}
		one, ok := c.within(field, "the excluded "+quoteRange(r), r, n.prefix)
		if ok && !slices.ContainsFunc(n.pools, func(p pool) bool { return p.meets(one) }) {
			c.complain(field, "the excluded %s is in no pool, so that nothing is excluded; leave it out or correct it", RangeText(r))
		}
		n.exclude = append(n.exclude, one)
	}
}

// within says whether a range is one, and inside of a prefix.
func (c *checker) within(field, what string, r *kilnv1.AddressRange, prefix netip.Prefix) (span, bool) {
	s, ok := spanOf(r)
	switch {
	case !ok:
		c.complain(field, "%s is no range; write it from the lower to the higher address, as in \"10.0.0.100-10.0.0.199\"", what)
	case !prefix.Contains(s.from) || !prefix.Contains(s.to):
		c.complain(field, "%s is not inside of %s; correct one of them", what, prefix)
		ok = false
	}
	return s, ok
}

// quoteRange is a range for a message; what is none is shown as it is.
func quoteRange(r *kilnv1.AddressRange) string {
	if _, ok := spanOf(r); ok {
		return RangeText(r)
	}
	return quote(RangeText(r))
}

// servers checks the addresses that machines are told, which no machine may get.
func (c *checker) servers(s *kilnv1.Subnet, n *network, fixed map[netip.Addr]bool) {
	own := func(field, what string, a netip.Addr) {
		i := slices.IndexFunc(n.pools, func(p pool) bool { return p.has(a) })
		if i >= 0 && !fixed[a] && !slices.ContainsFunc(n.exclude, func(x span) bool { return x.from.IsValid() && x.has(a) }) {
			c.complain(field, "the %s %s is inside of the pool %s, so that a machine would get its address; exclude it", what, a, n.pools[i].text)
		}
	}
	address := func(field, what, text string) (netip.Addr, bool) {
		a, err := netip.ParseAddr(text)
		if err != nil || a.BitLen() != n.prefix.Addr().BitLen() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() {
			c.complain(field, "the %s %s is not an address of the kind of %s; correct it", what, quote(text), n.prefix)
			return a, false
		}
		return a, true
	}
	if s.GetGateway() != "" {
		if a, ok := address("gateway", "gateway", s.GetGateway()); ok {
			switch {
			case a.Is6() && a.IsLinkLocalUnicast():
			case !n.prefix.Contains(a):
				c.complain("gateway", "the gateway %s is not in %s, so that no machine reaches it; correct one of them", a, n.prefix)
			case n.prefix.Bits() < 31 && a.Is4() && (a == n.prefix.Addr() || a == lastOf(n.prefix)):
				c.complain("gateway", "the gateway %s is the network's own or its broadcast address; write another one", a)
			default:
				own("gateway", "gateway", a)
			}
		}
	}
	for _, list := range []struct {
		field, what string
		all         []string
	}{{"dns", "name server", s.GetDns()}, {"ntp", "time server", s.GetNtp()}} {
		if len(list.all) > maxServers {
			c.complain(list.field, "there are %d %ss, more than %d; keep the best", len(list.all), list.what, maxServers)
		}
		for i, text := range list.all {
			field := fmt.Sprintf("%s[%d]", list.field, i)
			if a, ok := address(field, list.what, text); ok {
				own(field, list.what, a)
			}
		}
	}
	for i, text := range s.GetRelays() {
		if a, err := netip.ParseAddr(text); err == nil {
			own(fmt.Sprintf("relays[%d]", i), "relay", a)
		}
	}
	if s.GetDomain() != "" {
		c.must("domain", domainName(s.GetDomain()))
	}
	said := map[uint32]string{}
	if !n.prefix.Addr().Is6() {
		said = map[uint32]string{3: s.GetGateway(), 6: strings.Join(s.GetDns(), " "), 15: s.GetDomain(), 42: strings.Join(s.GetNtp(), " ")}
	}
	keys := map[uint32]string{3: "gateway", 6: "dns", 15: "domain", 42: "ntp"}
	for _, o := range s.GetOptions() {
		if said[o.GetCode()] != "" {
			c.complain(fmt.Sprintf("options.%d", o.GetCode()), "option %d is what %q says, too; keep one of them", o.GetCode(), keys[o.GetCode()])
		}
	}
	c.options("options", n.prefix.Addr().Is6(), "", s.GetOptions())
}

func (c *checker) options(field string, v6 bool, vendorClass string, options []*kilnv1.DHCPOption) {
	if len(options) > maxOptions {
		c.complain(field, "there are %d options, more than %d; leave some out", len(options), maxOptions)
		return
	}
	seen := map[uint32]bool{}
	for _, o := range options {
		at := fmt.Sprintf("%s.%d", field, o.GetCode())
		if !c.must(at, optionRefused(v6, o.GetCode(), vendorClass)) {
			continue
		}
		if seen[o.GetCode()] {
			c.complain(at, "option %d is there twice; keep one", o.GetCode())
		}
		seen[o.GetCode()] = true
		if n := len(o.GetValue()); n == 0 || n > maxOption {
			c.complain(at, "option %d has %d bytes; it may have 1 to %d", o.GetCode(), n, maxOption)
		}
	}
}

func (c *checker) classes(s *kilnv1.Subnet, v6 bool) {
	if len(s.GetClasses()) > maxClasses {
		c.complain("classes", "there are %d classes, more than %d; leave some out", len(s.GetClasses()), maxClasses)
		return
	}
	names := map[string]bool{}
	for i, class := range s.GetClasses() {
		at := fmt.Sprintf("classes[%d]", i)
		if c.must(at+".name", objectName(class.GetName())) {
			if names[class.GetName()] {
				c.complain(at+".name", "there are two classes %s; rename one of them", bare(class.GetName()))
			}
			names[class.GetName()] = true
		}
		if class.GetVendorClass() == "" && class.GetUserClass() == "" && class.GetArch() == 0 && len(class.GetSelector()) == 0 {
			c.complain(at, "class %s says of nobody that he is in it; give it a vendor_class, user_class, arch or selector", bare(class.GetName()))
		}
		for _, one := range []struct{ field, text string }{{"vendor_class", class.GetVendorClass()}, {"user_class", class.GetUserClass()}} {
			if len(one.text) > maxOption || strings.ContainsRune(one.text, 0) {
				c.complain(at+"."+one.field, "the %s of class %s is longer than %d bytes or holds a NUL; shorten it", one.field, bare(class.GetName()), maxOption)
			}
		}
		if class.GetArch() > 1<<16 {
			c.complain(at+".arch", "the arch of class %s is no number of DHCP's option 93; write one, such as 7", bare(class.GetName()))
		}
		c.labels(at+".selector", class.GetSelector())
		c.options(at+".options", v6, class.GetVendorClass(), class.GetOptions())
	}
}

// apart complains about subnets that share addresses. Prefixes in their order meet only when one holds the next.
func (c *checker) apart(all []network) {
	slices.SortStableFunc(all, func(a, b network) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	for i, widest := 1, 0; i < len(all); i++ {
		if !all[widest].prefix.Overlaps(all[i].prefix) {
			widest = i
			continue
		}
		first, second := all[widest], all[i]
		if first.index > second.index {
			first, second = second, first
		}
		c.at(KindSubnet, second.index, c.in.GetSubnets()[second.index].GetName()).complain("prefix",
			"its prefix %s overlaps %s of subnet %s; an address is in one subnet only, so shrink one of them",
			second.prefix, first.prefix, bare(c.in.GetSubnets()[first.index].GetName()))
	}
}

// fixed complains about fixed addresses that do not fit the subnet that they are in. In a pool they are kept for their machine.
func (c *checker) fixed() {
	if len(c.in.GetSubnets()) == 0 {
		return
	}
	networks := NetworksOf(c.in.GetSubnets())
	for i, m := range c.in.GetMachines() {
		for field, text := range map[string]string{"address": m.GetAddress(), "address6": m.GetAddress6()} {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				continue
			}
			s := networks.Of(p.Addr())
			n, err := netip.ParsePrefix(s.GetPrefix())
			if err != nil || n.Bits() == p.Bits() {
				continue
			}
			c.at(KindMachine, i, m.GetName()).complain(field, "its address %s is in subnet %s, whose prefix is %s; write \"%s/%d\"",
				p, bare(s.GetName()), n, p.Addr(), n.Bits())
		}
	}
}

// domainName checks the name of a domain.
func domainName(s string) error {
	ok := s != "" && len(s) <= 253
	for label := range strings.SplitSeq(s, ".") {
		ok = ok && label != "" && len(label) <= maxLabel && only(label, "-_")
	}
	if !ok {
		return fmt.Errorf("%s is not a domain; write it like \"lab.example\"", quote(s))
	}
	return nil
}
