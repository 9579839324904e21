package dnsname

import (
	"net/netip"
	"strings"
	"testing"
)

func TestLabelIsSafe(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a plain one", "web1", "web1"},
		{"capitals", "WEB-1", "web-1"},
		{"the first label of a full name", "pc7.corp.example.", "pc7"},
		{"blanks and underscores are hyphens", "Anna's my_phone", "annas-my-phone"},
		{"hyphens at the ends", "--a--", "a"},
		{"other bytes", "a\x00b\xffc/../d", "abc"},
		{"nothing is left", "★", ""},
		{"empty", "", ""},
		{"a dot first", ".web", ""},
		{"too long", strings.Repeat("a", 80), strings.Repeat("a", 63)},
		{"a hyphen where it is cut", strings.Repeat("a", 62) + "-b", strings.Repeat("a", 62)},
		{"what browsers take their proxy from", "WPAD", ""},
		{"this host", "localhost.localdomain", ""},
	} {
		if got := Label(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestHost(t *testing.T) {
	for _, c := range []struct{ host, zone, want string }{
		{"web-1", "lab.example", "web-1.lab.example"},
		{"Web-1.lab.example", "lab.example", "web-1.lab.example"},
		{"web-1.rack.lab.example", "lab.example", "web-1.rack.lab.example"},
		{"web-1.corp", "lab.example", "web-1.lab.example"},
		{"lab.example", "lab.example", "lab.lab.example"},
		{"", "lab.example", ""},
		{"a b", "lab.example", ""},
	} {
		if got := Host(c.host, c.zone); got != c.want {
			t.Errorf("%q in %s: %q, want %q", c.host, c.zone, got, c.want)
		}
	}
}

func TestReverse(t *testing.T) {
	for _, c := range []struct{ address, want string }{
		{"10.0.0.5", "5.0.0.10.in-addr.arpa"},
		{"fd00::5", "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"},
	} {
		if got := Reverse(netip.MustParseAddr(c.address)); got != c.want {
			t.Errorf("%s: %s, want %s", c.address, got, c.want)
		}
	}
	for _, c := range []struct{ prefix, want string }{
		{"10.0.0.0/24", "0.0.10.in-addr.arpa"}, {"10.1.16.0/20", "1.10.in-addr.arpa"}, {"10.1.2.128/25", "2.1.10.in-addr.arpa"},
		{"10.1.2.4/32", "2.1.10.in-addr.arpa"}, {"10.0.0.0/8", "10.in-addr.arpa"}, {"fd00:1::/64", "0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa"},
	} {
		p := netip.MustParsePrefix(c.prefix)
		got := ReverseZone(p)
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.prefix, got, c.want)
		}
		if !In(Reverse(p.Addr()), got) {
			t.Errorf("%s: %s is not in %s", c.prefix, Reverse(p.Addr()), got)
		}
	}
}

func FuzzFromWire(f *testing.F) {
	f.Add([]byte("\x03web\x03lab\x07example\x00"))
	f.Add([]byte("\x03web"))
	f.Add([]byte{63, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		name, err := FromWire(b)
		if err != nil {
			return
		}
		if l := Label(name); l != "" && !IsLabel(l) {
			t.Errorf("the label of %q is %q, which is none", name, l)
		}
		if IsName(name) {
			if again, err := FromWire(Wire(name)); err != nil || again != name {
				t.Errorf("%q comes back as %q, %v", name, again, err)
			}
		}
	})
}
