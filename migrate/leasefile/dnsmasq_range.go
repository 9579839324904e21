package leasefile

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// rangeOf reads dhcp-range: [tag:…,][set:…,]start[,end|mode[,mask[,broadcast]]][,lease time], and for IPv6 a prefix length in
// place of the mask (dnsmasq(8), --dhcp-range; option.c, LOPT dhcp-range).
func (r *dnsmasqReader) rangeOf(line int, fields []dnsmasqField) {
	var net []string
	tags, sets, rest := dnsmasqTags(fields, &net)
	sets = append(sets, net...)
	if len(rest) > 1 && !addressLike(rest[0].text) { // the oldest form, which names the tag only
		sets, rest = append(sets, rest[0].text), rest[1:]
	}
	if len(rest) == 0 {
		r.note(line, "dhcp-range has no address, so it is left out")
		return
	}
	from, ok := address(rest[0].text)
	if !ok {
		r.note(line, "dhcp-range begins with %s, which is no address, so it is left out", quote(rest[0].text))
		return
	}
	if len(tags) > 0 {
		r.note(line, "the range from %s is for machines with the tag %s only; Kiln gives it to all", from, quote(strings.Join(tags, ",")))
	}
	g := dnsmasqRange{reader: r, line: line, from: from, words: rest[1:]}
	if from.Is4() {
		g.read4()
	} else {
		g.read6()
	}
	if !g.prefix.IsValid() {
		return
	}
	if set := r.tags[g.prefix]; set == nil {
		r.tags[g.prefix] = map[string]bool{}
	}
	for _, t := range sets {
		r.tags[g.prefix][t] = true
	}
	s := r.subnet(line, g.prefix)
	if g.to.IsValid() {
		r.addRange(line, s, from, g.to)
	}
	if g.lease != 0 && s.LeaseTime != 0 && g.lease != s.LeaseTime {
		r.note(line, "the lease time of the range is not that of the other ranges in %s; the first counts for all", s.Prefix)
	} else if g.lease != 0 {
		s.LeaseTime = g.lease
	}
}

// dnsmasqRange is a range while it is read. Without a prefix it is left out, and noted.
type dnsmasqRange struct {
	reader   *dnsmasqReader
	line     int
	words    []dnsmasqField
	from, to netip.Addr
	prefix   netip.Prefix
	lease    time.Duration
}

func (g *dnsmasqRange) next() string {
	if len(g.words) == 0 {
		return ""
	}
	return g.words[0].text
}

func (g *dnsmasqRange) read4() {
	switch word := g.next(); {
	case word == "proxy":
		g.reader.note(g.line, "in the network of %s dnsmasq answers beside another DHCP server (proxy), so there are no addresses to take over", g.from)
		return
	case word == "static":
		g.words = g.words[1:]
	case strings.Contains(word, "."):
		var ok bool
		if g.to, ok = address(word); !ok || !g.to.Is4() {
			g.to = netip.Addr{}
			g.reader.note(g.line, "the range from %s ends with %s, which is no address, so it is left out", g.from, quote(word))
			return
		}
		g.words = g.words[1:]
	}
	masks := 0
	for ; strings.Contains(g.next(), "."); masks++ { // behind the mask comes the broadcast address
		if p, ok := masked(g.from, g.next()); masks == 0 && !ok {
			g.reader.note(g.line, "the range from %s has %s, which is no mask like 255.255.255.0, so it is left out", g.from, quote(g.next()))
			return
		} else if masks == 0 {
			g.prefix = p
		}
		g.words = g.words[1:]
	}
	if !g.leaseTime() {
		g.prefix = netip.Prefix{}
		return
	}
	if !g.prefix.IsValid() {
		g.guess()
	}
}

// guess takes /24, or what holds the whole range: dnsmasq would ask its interface.
func (g *dnsmasqRange) guess() {
	bits := 24
	for g.to.IsValid() && bits > 8 && !netip.PrefixFrom(g.from, bits).Masked().Contains(g.to) {
		bits--
	}
	g.prefix = netip.PrefixFrom(g.from, bits).Masked()
	g.reader.note(g.line, "dhcp-range has no mask, because dnsmasq asks its interface, so %s is taken for the subnet of %s; write the mask into the line if it is another one", g.prefix, g.from)
}

func (g *dnsmasqRange) read6() {
	bits, template := 64, false
	if a, ok := address(g.next()); ok {
		g.to = a
		g.words = g.words[1:]
	}
	for ; len(g.words) > 0; g.words = g.words[1:] {
		word := g.next()
		n, err := strconv.ParseUint(word, 10, 8)
		switch {
		case strings.HasPrefix(word, "constructor:"):
			template = true
		case word == "static" || word == "slaac":
			// Of the machines that ask for addresses the same as without.
		case word == "ra-only" || word == "ra-stateless" || word == "ra-names" || word == "ra-advrouter" || word == "off-link":
			if word == "ra-only" || word == "ra-stateless" {
				g.reader.note(g.line, "%s has machines that make their IPv6 addresses themselves (%s), so there are none to take over", g.from, word)
				return
			}
		case err == nil && n <= 128: // option.c: a number that is longer is a lease time
			bits = int(n)
		case !g.leaseTime():
			return
		}
		if len(g.words) == 0 {
			break
		}
	}
	if template || g.from.IsUnspecified() {
		g.reader.note(g.line, "the range from %s takes its network from an interface; write it out, as start,end,prefix length", g.from)
		return
	}
	g.prefix = netip.PrefixFrom(g.from, bits).Masked()
}

// leaseTime reads what is left: at most a lease time, like 120, 45m, 1h, 2d, 1w or infinite.
func (g *dnsmasqRange) leaseTime() bool {
	if len(g.words) == 0 {
		return true
	}
	t, ok := dnsmasqTime(g.next())
	if !ok || len(g.words) > 1 {
		g.reader.note(g.line, "the range from %s has %s, which is no lease time at its end, so the range is left out", g.from, quote(g.next()))
		return false
	}
	g.lease = t
	g.words = nil
	return true
}

// dnsmasqTime reads a lease time. dnsmasq takes two minutes for what is shorter.
func dnsmasqTime(s string) (time.Duration, bool) {
	if s == "infinite" {
		return Forever, true
	}
	if s == "deprecated" {
		return 0, true
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	unit := time.Second
	if s != "" {
		if u, ok := units[s[len(s)-1]|0x20]; ok {
			unit, s = u, s[:len(s)-1]
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || time.Duration(n) > Forever/unit {
		return 0, false
	}
	return max(time.Duration(n)*unit, 2*time.Minute), true
}

// addressLike says whether s has nothing but what addresses have (option.c looks at the same).
func addressLike(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF.: ") == ""
}
