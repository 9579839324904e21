package leasefile

import (
	"net/netip"
	"strconv"
	"strings"
)

// Codes of the options that are taken over (RFC 2132; RFC 3646 and RFC 5908 for IPv6).
const (
	optionRouter  = 3
	optionDNS     = 6
	optionDomain  = 15
	optionNTP     = 42
	option6DNS    = 23
	option6Search = 24
)

// dnsmasqOption is one of them, for the subnets whose ranges set all its tags.
type dnsmasqOption struct {
	tags      []string
	code      int // that of IPv4, also for IPv6
	v6        bool
	addresses []netip.Addr
	text      string
	other     *Option // one without a field of its own
	line      int
}

// option reads dhcp-option: [tag:…,][encap:…|vendor:…,]option[,value…] (dnsmasq(8), --dhcp-option).
func (r *dnsmasqReader) option(line int, fields []dnsmasqField) {
	var net []string
	tags, _, rest := dnsmasqTags(fields, &net)
	o := dnsmasqOption{tags: append(tags, net...), line: line}
	if len(rest) == 0 {
		r.note(line, "dhcp-option has no option, so it is left out")
		return
	}
	name, values := rest[0].text, rest[1:]
	o.code, o.v6 = dnsmasqCode(name)
	if o.code == 0 {
		r.otherOption(o, name, values)
		return
	}
	if len(o.tags) > maxDepth || !r.room(line, len(r.options), "options") {
		return
	}
	if o.code == optionDomain {
		if len(values) > 0 { // further ones are for searching
			o.text = values[0].text
		}
		r.options = append(r.options, o)
		return
	}
	for _, v := range values {
		text := v.text
		if o.v6 {
			text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
		}
		a, ok := address(text)
		switch {
		case !ok || a.Is6() != o.v6:
			r.note(line, "the option %s has %s, which is no address, so that is left out", quote(name), quote(v.text))
		case a.IsUnspecified():
			r.note(line, "the option %s names the old server itself (%s); give the subnet its address if it stays, or another one", quote(name), v.text)
		default:
			o.addresses = append(o.addresses, a)
		}
	}
	if len(values) == 0 || len(o.addresses) > 0 {
		r.options = append(r.options, o)
	}
}

// otherOption reads one of the options that have no field of their own.
func (r *dnsmasqReader) otherOption(o dnsmasqOption, name string, values []dnsmasqField) {
	short, v6 := strings.CutPrefix(name, "option6:")
	if !v6 {
		short = strings.TrimPrefix(name, "option:")
	}
	code, ok := optionCode(v6, short)
	if !ok {
		r.note(o.line, "the option %s is not taken over, because nothing here is called so, or it is one of a vendor's; give the subnet its number and its bytes in the description", quote(name))
		return
	}
	var texts []string
	for _, v := range values {
		texts = append(texts, strings.TrimSuffix(strings.TrimPrefix(v.text, "["), "]"))
	}
	one, err := optionOf(v6, code, r.vendorOf(o.tags), texts, o.line)
	if err != nil {
		r.note(o.line, "the option %s is not taken over: %s", quote(name), err)
		return
	}
	if len(o.tags) <= maxDepth && r.room(o.line, len(r.options), "options") {
		o.v6, o.other = v6, &one
		r.options = append(r.options, o)
	}
}

func dnsmasqCode(name string) (code int, v6 bool) {
	switch name {
	case "option:router":
		return optionRouter, false
	case "option:dns-server":
		return optionDNS, false
	case "option:domain-name":
		return optionDomain, false
	case "option:ntp-server":
		return optionNTP, false
	case "option6:dns-server", "option6:" + strconv.Itoa(option6DNS):
		return optionDNS, true
	case "option6:domain-search", "option6:" + strconv.Itoa(option6Search):
		return optionDomain, true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(name, "option:"))
	if err == nil && (n == optionRouter || n == optionDNS || n == optionDomain || n == optionNTP) {
		return n, false
	}
	return 0, false
}

func (o dnsmasqOption) apply(s *Subnet) {
	if o.other != nil {
		s.Options = put(s.Options, *o.other)
		return
	}
	switch o.code {
	case optionRouter:
		s.Router = o.addresses
	case optionDNS:
		s.DNS = o.addresses
	case optionNTP:
		s.NTP = o.addresses
	case optionDomain:
		s.Domain = o.text
	}
}
