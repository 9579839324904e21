package dnsname

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const (
	maxLabel = 63  // bytes (RFC 1035 §2.3.4)
	maxName  = 253 // bytes, as text
)

// notForClients are labels that other programs take for more than a name: who had one would be their proxy, or their router
// to IPv6.
func notForClients(label string) bool {
	return label == "localhost" || label == "wpad" || label == "isatap"
}

// Label is the label that a client gets which calls itself s: the first label of s, with letters, digits and hyphens alone.
// Empty: there is none.
func Label(s string) string {
	s, _, _ = strings.Cut(s, ".")
	var out []byte
	for i := 0; i < len(s) && len(out) < maxLabel; i++ {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c == '_' || c == ' ':
			c = '-'
		case c != '-' && !alnum(c):
			continue
		}
		if c != '-' || len(out) > 0 {
			out = append(out, c)
		}
	}
	label := strings.TrimRight(string(out), "-")
	if notForClients(label) {
		return ""
	}
	return label
}

// IsLabel says whether s is what Label makes.
func IsLabel(s string) bool { return s != "" && Label(s) == s }

// IsName says whether s is a name of hosts or zones: labels of letters, digits, "-" and "_", in lower case.
func IsName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !alnum(c) && c != '-' && c != '_' && c != '/' { // RFC 2317 has "/" in zones
				return false
			}
		}
	}
	return true
}

// Host is the name of a host in a zone: the host's name when it ends with the zone, else its first label in the zone. Empty:
// there is none.
func Host(host, zone string) string {
	host = strings.ToLower(host)
	if !strings.HasSuffix(host, "."+zone) {
		first, _, _ := strings.Cut(host, ".")
		host = first + "." + zone
	}
	if host == "."+zone || !IsName(host) {
		return ""
	}
	return host
}

// In says whether a name is in a zone, and not the zone itself.
func In(name, zone string) bool { return strings.HasSuffix(name, "."+zone) }

// Reverse is the name of an address's pointer (RFC 1035 §3.5, RFC 3596 §2.5).
func Reverse(a netip.Addr) string {
	a = a.Unmap()
	return reverse(a, a.BitLen())
}

// reverse is the name of the first bits of an address.
func reverse(a netip.Addr, bits int) string {
	var b strings.Builder
	raw := a.AsSlice()
	if a.Is4() {
		for i := bits/8 - 1; i >= 0; i-- {
			fmt.Fprintf(&b, "%d.", raw[i])
		}
		return b.String() + "in-addr.arpa"
	}
	const hex = "0123456789abcdef"
	for i := bits/4 - 1; i >= 0; i-- {
		nibble := raw[i/2]
		if i%2 == 0 {
			nibble >>= 4
		}
		b.WriteByte(hex[nibble&15])
		b.WriteByte('.')
	}
	return b.String() + "ip6.arpa"
}

// ReverseZone is the zone that the pointers of a network are in when zones end at full bytes, or digits for IPv6.
func ReverseZone(p netip.Prefix) string {
	a, most := p.Masked().Addr(), 24 // a zone for one host makes no sense
	unit := 8
	if a.Is6() {
		unit, most = 4, 124
	}
	return reverse(a, min(p.Bits(), most)/unit*unit)
}

// Wire is a name as it is on the wire, not compressed (RFC 1035 §3.1). The name must be one.
func Wire(name string) []byte {
	var out []byte
	for label := range strings.SplitSeq(name, ".") {
		out = append(append(out, byte(len(label))), label...)
	}
	return append(out, 0)
}

var errWire = errors.New("it is no name of DNS")

// FromWire reads a name that is not compressed. One without its end is part of a name (RFC 4702 §2.3.1), and is read, too. What
// labels hold is not checked.
func FromWire(b []byte) (string, error) {
	var labels []string
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 {
			if len(b) > 1 {
				return "", errWire
			}
			break
		}
		if n > maxLabel || n >= len(b) {
			return "", errWire
		}
		labels = append(labels, string(b[1:1+n]))
		b = b[1+n:]
	}
	name := strings.Join(labels, ".")
	if len(name) > maxName {
		return "", errWire
	}
	return name, nil
}

func alnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
