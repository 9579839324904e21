package leasefile

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// iscConf reads dhcpd.conf (dhcpd.conf(5)). What a network is told may stand in any block around it and behind it, too, so
// subnets are filled in when the file's end is reached.
func iscConf(b *builder, data string) error {
	r := &iscReader{builder: b, iscScanner: iscScanner{s: data, line: 1}, byPrefix: map[netip.Prefix]*iscScope{}}
	if err := r.block(&iscScope{kind: iscGlobal}); err != nil {
		return err
	}
	for _, s := range r.scopes {
		out := b.subnet(s.line, s.prefix)
		if s.fill(out); out.Prefix.Addr().Is4() {
			out.Classes = r.classes
		}
	}
	return nil
}

type iscReader struct {
	*builder
	iscScanner
	scopes   []*iscScope // of subnets
	byPrefix map[netip.Prefix]*iscScope
	classes  []Class
}

// Kinds of blocks.
const (
	iscGlobal = "file"
	iscShared = "shared-network"
	iscGroup  = "group"
	iscSubnet = "subnet"
	iscPool   = "pool"
	iscClass  = "class"
)

// iscScope is a block with what it tells its machines.
type iscScope struct {
	kind      string
	line      int
	parent    *iscScope
	prefix    netip.Prefix // of a subnet
	router    []netip.Addr
	dns, ntp  []netip.Addr
	domain    string
	leaseTime time.Duration
	others    []Option
	others6   []Option
	dns6      []netip.Addr
	match     string // of a class
	known     bool   // machines that nobody described get nothing
	options   int    // line of the first that only networks have
	networks  bool   // there are some in it
}

// fill takes for a subnet what is the nearest to it.
func (s *iscScope) fill(out *Subnet) {
	v6 := out.Prefix.Addr().Is6()
	for ; s != nil; s = s.parent {
		out.KnownOnly = out.KnownOnly || s.known
		if out.LeaseTime == 0 {
			out.LeaseTime = s.leaseTime
		}
		if v6 {
			out.Options = add(out.Options, s.others6)
			if out.DNS == nil {
				out.DNS = s.dns6
			}
			continue
		}
		out.Options = add(out.Options, s.others)
		if out.Router == nil {
			out.Router = s.router
		}
		if out.DNS == nil {
			out.DNS = s.dns
		}
		if out.NTP == nil {
			out.NTP = s.ntp
		}
		if out.Domain == "" {
			out.Domain = s.domain
		}
	}
}

// network is the subnet that a block is in, or nil.
func (s *iscScope) network() *iscScope {
	for ; s != nil; s = s.parent {
		if s.kind == iscSubnet {
			return s
		}
	}
	return nil
}

// block reads statements up to the end of the block, or of the file. maxDepth bounds how often it is in itself.
func (r *iscReader) block(s *iscScope) error {
	for {
		st, err := r.next()
		switch {
		case err != nil:
			return err
		case st.end == 0 || st.end == '}':
			if s.kind == iscGroup && s.options > 0 && !s.networks {
				r.note(s.options, "the options of a group of hosts are not taken over, because what machines are told is that of their subnet")
			}
			return nil
		case st.end == '{':
			err = r.nested(s, st)
		default:
			r.statement(s, st)
		}
		if err != nil {
			return err
		}
	}
}

// nested reads a block, or skips it.
func (r *iscReader) nested(s *iscScope, st iscStatement) error {
	in := &iscScope{line: st.line, parent: s}
	switch strings.ToLower(st.word(0)) {
	case "group":
		in.kind = iscGroup
	case "shared-network":
		in.kind = iscShared
	case "pool":
		in.kind = iscPool
	case "subnet6":
		var err error
		if in.prefix, err = netip.ParsePrefix(st.word(1) + st.word(2) + st.word(3)); err != nil || !in.prefix.Addr().Is6() {
			return &Error{Line: st.line, Text: fmt.Sprintf("the subnet %s is no network like 2001:db8::/64; correct it, \"dhcpd -6 -t -cf FILE\" helps", quote(strings.Join(st.texts(1), "")))}
		}
		in.prefix = in.prefix.Masked()
		r.enter(s, in)
	case "pool6":
		in.kind = iscPool
	case "subnet":
		a, ok := address(st.word(1))
		if in.prefix, _ = masked(a, st.word(3)); !ok || !in.prefix.IsValid() {
			return &Error{Line: st.line, Text: fmt.Sprintf("the subnet %s has no network and netmask like 192.0.2.0 and 255.255.255.0; correct it, \"dhcpd -t -cf FILE\" helps", quote(st.word(1)))}
		}
		r.enter(s, in)
	case "host":
		return r.host(st)
	default:
		switch word := strings.ToLower(st.word(0)); word {
		case "if", "elsif", "else", "switch", "on":
			r.noteOnce(st.line, "what stands in \"%s\" is not taken over, because Kiln tells all machines of a subnet the same", word)
		case "class":
			return r.class(s, st)
		case "subclass":
			r.noteOnce(st.line, "a %s is not taken over; write it as a class of the subnets (docs/dhcp.md)", word)
		case "failover", "zone", "key":
			r.noteOnce(st.line, "a %s is not taken over, because nothing in Kiln is like it", word)
		default:
			r.note(st.line, "the block %s is not known here, so it is left out", st.head())
		}
		return r.skip()
	}
	return r.block(in)
}

// class reads a class (dhcpd.conf(5), "CLIENT CLASSING").
func (r *iscReader) class(around *iscScope, st iscStatement) error {
	in := &iscScope{kind: iscClass, line: st.line, parent: around}
	before := len(r.out.Notes)
	err := r.block(in)
	if r.vendorClass = ""; err != nil {
		return err
	}
	c, ok := classOf(st.word(1), in.match, st.line)
	if !ok || len(r.classes) >= maxClasses {
		r.out.Notes = r.out.Notes[:min(before, len(r.out.Notes))] // of what is in it
		r.note(st.line, "the class %s is not taken over, because it does not match a vendor class, a user class or an architecture alone; write it as a class of the subnets (docs/dhcp.md)", quote(st.word(1)))
		return nil
	}
	told := Subnet{Router: in.router, DNS: in.dns, NTP: in.ntp, Domain: in.domain, Options: in.others}
	if c.Options = told.asOptions(st.line); len(c.Options) > 0 {
		r.classes = append(r.classes, c)
	}
	return nil
}

// enter makes the subnet of a block.
func (r *iscReader) enter(around, in *iscScope) {
	in.kind = iscSubnet
	for up := around; up != nil; up = up.parent {
		up.networks = true
	}
	r.subnet(in.line, in.prefix)
	if r.room(in.line, len(r.scopes), "subnets") {
		r.scopes = append(r.scopes, in)
		r.byPrefix[in.prefix] = in
	}
}

// host reads a host, which is one for all networks wherever it stands.
func (r *iscReader) host(head iscStatement) error {
	h := &iscHost{line: head.line, name: head.word(1)}
	for {
		st, err := r.next()
		switch {
		case err != nil:
			return err
		case st.end == '}':
			h.reserve(r.builder)
			return nil
		case st.end == '{':
			r.noteOnce(st.line, "blocks in a host are not taken over, because a reservation is an address and a name only")
			if err := r.skip(); err != nil {
				return err
			}
		default:
			h.statement(st)
		}
	}
}

func (r *iscReader) statement(s *iscScope, st iscStatement) {
	switch word := strings.ToLower(st.word(0)); word {
	case "option":
		r.option(s, st)
	case "match":
		if s.kind == iscClass && st.is("match", "if") {
			s.match = st.written(2)
			if c, ok := classOf("a", s.match, st.line); ok {
				r.vendorClass = c.VendorClass // for the options behind it
			}
			return
		}
		r.noteOnce(st.line, "a match is not taken over; write it as a class of the subnets (docs/dhcp.md)")
	case "range":
		r.rangeOf(s, st)
	case "range6":
		r.rangeOf6(s, st)
	case "prefix6":
		r.noteOnce(st.line, "prefixes that are delegated are not taken over, because Kiln gives addresses only")
	case "default-lease-time":
		if t, ok := seconds(st.word(1)); !ok || t == 0 {
			r.note(st.line, "the lease time is %s, which is no number of seconds, so it is left out", quote(st.word(1)))
		} else if s.kind == iscPool {
			r.note(st.line, "the lease time of a pool is not taken over, because that of its subnet counts")
		} else {
			s.leaseTime = t
		}
	case "max-lease-time", "min-lease-time":
		r.noteOnce(st.line, "%s is not taken over, because Kiln gives everyone the subnet's lease time", word)
	case "deny", "ignore", "allow", "failover":
		r.access(s, st)
	case "include":
		r.note(st.line, "include %s is not followed; give that file, too", quote(st.word(1)))
	case "lease-file-name":
		r.note(st.line, "the leases are in %s; give that file, too", quote(st.word(1)))
	case "filename", "next-server", "server-name":
		r.noteOnce(st.line, "%s is not taken over, because Kiln says itself what machines boot", word)
	case "subclass", "class":
		r.noteOnce(st.line, "a %s is not taken over; write it as a class of the subnets (docs/dhcp.md)", word)
	default:
		r.noteOnce(st.line, "%s is not taken over, because it is not about who has which address", quote(word))
	}
}

// access is about who may have an address.
func (r *iscReader) access(s *iscScope, st iscStatement) {
	what := strings.ToLower(strings.Join(st.texts(0), " "))
	for _, open := range []string{"allow unknown-clients", "allow unknown clients", "allow booting", "allow bootp"} {
		if what == open {
			return // as it is without, and in Kiln
		}
	}
	if what == "deny unknown-clients" || what == "deny unknown clients" || what == "ignore unknown-clients" || what == "ignore unknown clients" {
		if s.kind != iscPool {
			s.known = true
			return
		}
	}
	if s.kind == iscPool {
		r.note(st.line, "the pool is only for some machines (%s); Kiln gives its addresses to all that ask", quote(what))
		return
	}
	r.noteOnce(st.line, "%s is not taken over, because Kiln gives addresses to all machines of a subnet", quote(what))
}

func (r *iscReader) option(s *iscScope, st iscStatement) {
	name := strings.ToLower(st.word(1))
	var into *[]netip.Addr
	switch name {
	case "routers":
		into = &s.router
	case "domain-name-servers":
		into = &s.dns
	case "ntp-servers":
		into = &s.ntp
	case "domain-name":
		if s.kind != iscPool {
			s.domain = st.word(2)
		}
	case "dhcp6.name-servers":
		into = &s.dns6
	default:
		if s.kind == iscPool {
			r.note(st.line, "the option %s of a pool is not taken over, because that of its subnet counts", quote(name))
			return
		}
		short, v6 := strings.CutPrefix(name, "dhcp6.")
		code, ok := optionCode(v6, short)
		if !ok || len(st.words) > 2 && st.word(2) == "code" {
			r.noteOnce(st.line, "the option %s is not taken over, because nothing here is called so; give the subnet its number and its bytes in the description", quote(name))
			return
		}
		if s.options == 0 {
			s.options = st.line
		}
		r.takeOption(v6, code, name, st.texts(2), st.line, map[bool]*[]Option{false: &s.others, true: &s.others6}[v6])
		return
	}
	if s.kind == iscPool {
		r.note(st.line, "the option %s of a pool is not taken over, because that of its subnet counts", quote(name))
		return
	}
	if s.options == 0 {
		s.options = st.line
	}
	if into == nil {
		return
	}
	a, ok := addresses(st.texts(2))
	if !ok {
		r.note(st.line, "the option %s has %s, of which one is no address, so it is left out; write addresses, not names", quote(name), quote(strings.Join(st.texts(2), ", ")))
		return
	}
	*into = a
}

// rangeOf6 reads "range6 low high" and "range6 prefix" (dhcpd.conf(5)).
func (r *iscReader) rangeOf6(s *iscScope, st iscStatement) {
	in := s.network()
	text := strings.Join(st.texts(1), " ")
	if len(st.words) > 2 && st.word(2) == "/" || strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(strings.ReplaceAll(strings.TrimSuffix(text, " temporary"), " ", ""))
		if err == nil && in != nil {
			r.addRange(st.line, r.subnet(in.line, in.prefix), p.Masked().Addr(), lastOf(p))
			return
		}
	}
	ends, ok := addresses(st.texts(1))
	if !ok || len(ends) != 2 || in == nil {
		r.note(st.line, "the range %s has no two addresses, or stands in no subnet, so it is left out", quote(text))
		return
	}
	r.addRange(st.line, r.subnet(in.line, in.prefix), ends[0], ends[1])
}

// rangeOf reads "range [dynamic-bootp] low [high]".
func (r *iscReader) rangeOf(s *iscScope, st iscStatement) {
	words := st.texts(1)
	if len(words) > 0 && strings.EqualFold(words[0], "dynamic-bootp") {
		words = words[1:]
	}
	ends, ok := addresses(words)
	if !ok || len(ends) == 0 || len(ends) > 2 {
		r.note(st.line, "the range %s has no one or two addresses, so it is left out", quote(strings.Join(words, " ")))
		return
	}
	in := s.network()
	if in == nil { // in a pool of a shared network: it is of the subnet that it is in
		for bits := ends[0].BitLen(); bits > 0 && in == nil; bits-- {
			p, _ := ends[0].Prefix(bits)
			in = r.byPrefix[p]
		}
	}
	if in == nil {
		r.note(st.line, "the range from %s stands in no subnet, nor behind one that has it, so it is left out; put it into its subnet", ends[0])
		return
	}
	r.addRange(st.line, r.subnet(in.line, in.prefix), ends[0], ends[len(ends)-1])
}
