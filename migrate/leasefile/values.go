package leasefile

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// octets reads hexadecimal bytes with colons or dashes between them; one digit is a byte, too.
func octets(s string) ([]byte, bool) {
	sep := ":"
	if !strings.Contains(s, sep) {
		sep = "-"
	}
	var out []byte
	for part := range strings.SplitSeq(s, sep) {
		n, err := strconv.ParseUint(part, 16, 8)
		if err != nil || len(part) > 2 {
			return nil, false
		}
		out = append(out, byte(n))
	}
	return out, true
}

// macOf is an Ethernet address as it is written here. The group's and nobody's are no machine's.
func macOf(s string) (string, bool) {
	b, ok := octets(s)
	if !ok || len(b) != 6 || b[0]&1 != 0 || bytes.Equal(b, make([]byte, 6)) {
		return "", false
	}
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]), true
}

// idOf reads a client id: bytes, with or without colons.
func idOf(s string) ([]byte, bool) {
	if !strings.ContainsAny(s, ":-") {
		b, err := hex.DecodeString(s)
		return b, err == nil && len(b) > 0
	}
	return octets(s)
}

// addresses reads addresses of hosts.
func addresses(texts []string) ([]netip.Addr, bool) {
	var out []netip.Addr
	for _, s := range texts {
		a, ok := address(s)
		if !ok {
			return nil, false
		}
		out = append(out, a)
	}
	return out, true
}

func address(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	return a, err == nil && a.Zone() == "" && !a.Is4In6()
}

// masked is the network of an IPv4 address and a mask like 255.255.255.0.
func masked(a netip.Addr, mask string) (netip.Prefix, bool) {
	m, ok := address(mask)
	if !ok || !m.Is4() || !a.Is4() {
		return netip.Prefix{}, false
	}
	b := m.As4()
	bits := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	ones := 0
	for ; bits&(1<<31) != 0; bits <<= 1 {
		ones++
	}
	if bits != 0 || ones == 0 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, ones).Masked(), true
}

// lastOf is the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// seconds is a lease time in seconds, of which the largest is forever.
func seconds(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return time.Duration(n) * time.Second, err == nil
}

// instant is a time since the epoch, in seconds. The limit is the year 9999, the last that texts have.
func instant(s string) (time.Time, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 253402300799 {
		return time.Time{}, false
	}
	return time.Unix(n, 0).UTC(), true
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// withoutMark leaves out the mark that some editors put before UTF-8.
func withoutMark(s string) string { return strings.TrimPrefix(s, "\ufeff") }

// quote quotes s for a message, cut where it would fill the line.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:most], ""))
	}
	return fmt.Sprintf("%q", s)
}
