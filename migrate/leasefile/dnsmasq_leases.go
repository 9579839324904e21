package leasefile

import (
	"strconv"
	"strings"
	"time"
)

// dnsmasqLeases reads what dnsmasq writes to dhcp-leasefile (lease.c, lease_update_file):
//
//	1732358024 52:54:00:12:34:56 192.0.2.10 name 01:52:54:00:12:34:56
//	duid 00:01:00:01:…
//	1732358024 1193046 2001:db8::10 name 00:01:00:01:…
//
// Times are seconds since the epoch, 0 for never. "*" stands for no name and no client id. The lines of IPv6 come behind the
// one with the server's own DUID and have the IAID instead of a MAC, with a T before it when the address is temporary.
func dnsmasqLeases(b *builder, data string) error {
	seen, line := false, 0
	for text := range strings.Lines(data) {
		line++
		f := strings.Fields(text)
		if len(f) == 0 {
			continue
		}
		if f[0] == "duid" && len(f) == 2 {
			seen = true
			b.note(line, "the old server's own DUID is not taken over; Kiln's edges have their own, which clients learn when they ask again")
			continue
		}
		if len(f) < 5 {
			b.note(line, "the line has %s and not five, so it is left out, as dnsmasq does; its last write was cut short, perhaps", counted(len(f), "field", "fields"))
			continue
		}
		ends, okTime := instant(f[0])
		a, okAddress := address(f[2])
		if !okTime || !okAddress {
			b.note(line, "the line does not begin with a time, a MAC and an address, so it is left out, as dnsmasq does")
			continue
		}
		seen = true
		l := Lease{Address: a, Ends: ends, Line: line}
		if f[0] == "0" {
			l.Ends = time.Time{}
		}
		if f[3] != "*" {
			l.Name = f[3]
		}
		if f[4] != "*" {
			if l.ClientID, okTime = octets(f[4]); !okTime {
				b.note(line, "the client id of %s is not in hexadecimal, so only its MAC is taken over", a)
				l.ClientID = nil
			}
		}
		if dnsmasqHolder(b, &l, f[1]) {
			b.hold(l)
		}
	}
	if line > 0 && !seen && strings.TrimSpace(data) != "" {
		return &Error{Line: 1, Text: "no line begins with a time, a MAC and an address; give the file that dhcp-leasefile names, which is /var/lib/misc/dnsmasq.leases when nothing does"}
	}
	return nil
}

// dnsmasqHolder fills in who holds the address of l, and says whether that is known.
func dnsmasqHolder(b *builder, l *Lease, text string) bool {
	if l.Address.Is6() {
		if strings.HasPrefix(text, "T") {
			b.note(l.Line, "%s is a temporary IPv6 address (RFC 8415 §6.5), so it is left out; its machine takes another one", l.Address)
			return false
		}
		iaid, err := strconv.ParseUint(text, 10, 32)
		if err != nil || l.ClientID == nil {
			b.note(l.Line, "%s has no IAID and DUID, so nobody can be told who holds it, and it is left out", l.Address)
			return false
		}
		l.IAID = uint32(iaid)
		return true
	}
	// A type of hardware that is not Ethernet stands in hexadecimal before the address (dhcp-common.c, parse_hex).
	hardware, mac, typed := strings.Cut(text, "-")
	if !typed {
		hardware, mac = "01", text
	}
	if n, err := strconv.ParseUint(hardware, 16, 8); err != nil || n != 1 {
		b.note(l.Line, "%s is held by hardware of type %s, not Ethernet, so it is left out; Kiln boots Ethernet only", l.Address, quote(hardware))
		return false
	}
	var ok bool
	if l.MAC, ok = macOf(mac); !ok && l.ClientID == nil {
		b.note(l.Line, "%s is held by %s, which is no machine's MAC, and without a client id, so it is left out", l.Address, quote(mac))
		return false
	}
	return true
}
