package leasefile

import (
	"net/netip"
	"strings"
)

// dnsmasqReader reads a configuration. Options and domains are kept until all ranges are known: their order means nothing.
type dnsmasqReader struct {
	*builder
	tags    map[netip.Prefix]map[string]bool // that the ranges of a subnet set
	options []dnsmasqOption
	domains []dnsmasqDomain
	classes []Class // of the tags that clients get by what they say
	known   bool    // machines that nobody described get nothing
}

type dnsmasqDomain struct {
	name     string
	from, to netip.Addr // zero: everywhere
	line     int
}

// dnsmasqConf reads dnsmasq's configuration (dnsmasq(8)), of which it takes dhcp-range, dhcp-host, dhcp-option and domain.
func dnsmasqConf(b *builder, data string) error {
	r := &dnsmasqReader{builder: b, tags: map[netip.Prefix]map[string]bool{}}
	line, known := 0, false
	for text := range strings.Lines(data) { // classes first: the order of lines means nothing
		line++
		switch key, fields := dnsmasqLine(strings.TrimRight(text, "\r\n"), true); key {
		case "dhcp-vendorclass", "dhcp-userclass", "dhcp-match":
			r.class(line, key, fields)
		}
	}
	line = 0
	for text := range strings.Lines(data) {
		line++
		key, fields := dnsmasqLine(strings.TrimRight(text, "\r\n"), true)
		if key == "" && fields == nil {
			continue
		}
		if !dnsmasqWord(key) {
			return &Error{Line: line, Text: "the line is not a word, or a word, \"=\" and a value; give a file that \"dnsmasq --test -C FILE\" accepts"}
		}
		known = true
		r.statement(line, key, fields)
	}
	if !known && strings.TrimSpace(data) != "" {
		b.note(0, "every line is a comment, so there is nothing to take over")
	}
	r.apply()
	return nil
}

// dnsmasqHosts reads what dhcp-hostsfile names: one value of dhcp-host on a line.
func dnsmasqHosts(b *builder, data string) error {
	r := &dnsmasqReader{builder: b}
	line := 0
	for text := range strings.Lines(data) {
		line++
		if _, fields := dnsmasqLine(strings.TrimRight(text, "\r\n"), false); fields != nil {
			r.host(line, fields)
		}
	}
	return nil
}

// dnsmasqWord says whether s is an option's name: all are lower case letters, digits and dashes.
func dnsmasqWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 40
}

func (r *dnsmasqReader) statement(line int, key string, fields []dnsmasqField) {
	value := ""
	if len(fields) > 0 {
		value = fields[0].text
	}
	switch key {
	case "dhcp-range":
		r.rangeOf(line, fields)
	case "dhcp-host":
		r.host(line, fields)
	case "dhcp-option", "dhcp-option-force":
		r.option(line, fields)
	case "domain":
		r.domain(line, fields)
	case "conf-file", "conf-dir", "dhcp-hostsfile", "dhcp-hostsdir":
		r.note(line, "%s=%s is not followed; give that file, too", key, quote(value))
	case "dhcp-optsfile", "dhcp-optsdir", "conf-script":
		r.note(line, "%s=%s is not followed; write what it gives into a file as dnsmasq's configuration has it, and give that", key, quote(value))
	case "read-ethers":
		r.note(line, "/etc/ethers is not followed; write its lines as dhcp-host=MAC,ADDRESS into a file, and give that")
	case "dhcp-leasefile":
		r.note(line, "the leases are in %s; give that file, too", quote(value))
	case "dhcp-boot", "pxe-service", "pxe-prompt", "enable-tftp", "tftp-root":
		r.noteOnce(line, "%s is not taken over, because Kiln says itself what machines boot", key)
	case "dhcp-ignore":
		if value == "tag:!known" || value == "#known" {
			r.known = true
			return
		}
		r.note(line, "dhcp-ignore is not taken over, so Kiln also gives addresses to machines that dnsmasq ignored")
	case "dhcp-vendorclass", "dhcp-userclass", "dhcp-match":
		// They were read before.
	default:
		if strings.HasPrefix(key, "dhcp-") {
			r.noteOnce(line, "%s is not taken over, because nothing in Kiln is like it", key)
			return
		}
		r.noteOnce(line, "%s is not taken over, because it is not about who has which address", key)
	}
}

// domain reads "name[,range[,local]]".
func (r *dnsmasqReader) domain(line int, fields []dnsmasqField) {
	if len(fields) == 0 || fields[0].text == "#" {
		r.note(line, "the domain is that of the old server's /etc/resolv.conf; give it to the subnets by hand")
		return
	}
	d := dnsmasqDomain{name: fields[0].text, line: line}
	if len(fields) > 1 {
		ok := false
		if p, err := netip.ParsePrefix(fields[1].text); err == nil {
			d.from, d.to, ok = p.Masked().Addr(), lastOf(p), true
		} else if d.from, ok = address(fields[1].text); ok {
			if d.to = d.from; len(fields) > 2 && fields[2].text != "local" {
				d.to, ok = address(fields[2].text)
			}
		}
		if !ok {
			r.note(line, "the domain %s is for %s, which is no range of addresses, so it is left out", quote(d.name), quote(fields[1].text))
			return
		}
	}
	if r.room(line, len(r.domains), "domains") {
		r.domains = append(r.domains, d)
	}
}

// maxMatches bounds what comparing subnets with options and domains costs: real files have a hundred of each.
const maxMatches = 10_000_000

// apply gives domains and options to subnets. What comes later in the file wins, but what is for fewer comes last of all.
func (r *dnsmasqReader) apply() {
	subnets := len(r.out.Subnets)
	if n := len(r.domains) + len(r.options); n > 0 && subnets > maxMatches/n {
		r.full = &Error{Text: "the file has too many subnets and options to compare them all; divide it into several files"}
		return
	}
	for _, narrow := range []bool{false, true} {
		for _, d := range r.domains {
			for i := range r.out.Subnets {
				s := &r.out.Subnets[i]
				everywhere := !d.from.IsValid()
				if everywhere != narrow && (everywhere || d.covers(s)) {
					s.Domain = d.name
				}
			}
		}
	}
	for _, narrow := range []bool{false, true} {
		for _, o := range r.options {
			if (len(o.tags) > 0) != narrow {
				continue
			}
			if r.forClass(o) {
				continue
			}
			used := false
			for i := range r.out.Subnets {
				s := &r.out.Subnets[i]
				if s.Prefix.Addr().Is6() == o.v6 && r.selected(o, s.Prefix) {
					used = true
					o.apply(s)
				}
			}
			if !used && narrow {
				r.note(o.line, "the option is for the tag %s, which no dhcp-range here sets, so it is left out", quote(strings.Join(o.tags, ",")))
			}
		}
	}
	for i := range r.out.Subnets {
		r.out.Subnets[i].KnownOnly = r.known
	}
	for _, s := range r.out.Subnets {
		if s.Router == nil && s.Prefix.Addr().Is4() && !r.without(s.Prefix) {
			r.note(s.Line, "no router is named for %s, which for dnsmasq means itself; give the subnet a router and DNS servers", s.Prefix)
		}
	}
}

// covers says whether a domain is for the machines of a subnet: for all that it gives addresses to.
func (d dnsmasqDomain) covers(s *Subnet) bool {
	for _, g := range s.Ranges {
		if g.From.Less(d.from) || d.to.Less(g.To) {
			return false
		}
	}
	return len(s.Ranges) > 0 || !s.Prefix.Addr().Less(d.from) && !d.to.Less(lastOf(s.Prefix))
}

func (r *dnsmasqReader) selected(o dnsmasqOption, p netip.Prefix) bool {
	for _, t := range o.tags {
		if !r.tags[p][t] {
			return false
		}
	}
	return true
}

// without says whether the file says that a subnet has no router: "dhcp-option=3" without a value.
func (r *dnsmasqReader) without(p netip.Prefix) bool {
	for _, o := range r.options {
		if o.other == nil && o.code == optionRouter && len(o.addresses) == 0 && r.selected(o, p) {
			return true
		}
	}
	return false
}
