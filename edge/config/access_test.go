package config

import (
	"net/netip"
	"testing"
)

func TestAllow(t *testing.T) {
	own, other := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")
	own6, near := netip.MustParseAddr("fd00::5"), netip.MustParseAddr("fe80::5")
	macs := []string{"52:54:00:00:00:01", "52:54:00:00:00:11"}
	for _, c := range []struct {
		name  string
		facts Facts
		want  Access
	}{
		{"nothing", Facts{}, None},
		{"an address and nothing else", Facts{Source: own, MACs: macs}, None},
		{"a token", Facts{Token: true, Source: other, MACs: macs}, Public},
		{"a token of a confirmed machine", Facts{Token: true, Confirmed: true, Source: other, MACs: macs}, Secrets},
		{"a token of a confirmed machine at its address", Facts{Token: true, Confirmed: true, Source: own, MACs: macs, Bound: own, BoundMAC: macs[1]}, Secrets},
		{"a public token at the machine's address", Facts{Token: true, PublicToken: true, Confirmed: true, Source: own, MACs: macs, Bound: own, BoundMAC: macs[1]}, Public},
		{"a token whose secrets are read", Facts{Token: true, Confirmed: true, SecretsRead: true, Source: own, MACs: macs, Bound: own, BoundMAC: macs[0]}, Public},
		{"a token that another machine of the segment has", Facts{Token: true, Confirmed: true, Source: other, MACs: macs, Bound: other, BoundMAC: "52:54:00:00:00:66"}, Public},
		{"a bound address while booting", Facts{Source: own, MACs: macs, Bound: own, BoundMAC: macs[0], Window: true}, Public},
		{"a bound address written as IPv6", Facts{Source: netip.MustParseAddr("::ffff:10.0.0.5"), MACs: macs, Bound: own, BoundMAC: macs[0], Window: true}, Public},
		{"a bound IPv6 address while booting", Facts{Source: own6, MACs: macs, Bound: own6, BoundMAC: macs[0], Window: true}, Public},
		{"a token of a confirmed machine at its IPv6 address", Facts{Token: true, Confirmed: true, Source: own6, MACs: macs, Bound: own6, BoundMAC: macs[0]}, Secrets},
		{"an address of the link alone", Facts{Source: near, MACs: macs, Bound: near, BoundMAC: macs[0], Window: true}, None},
		{"no secrets without a token", Facts{Confirmed: true, Source: own, MACs: macs, Bound: own, BoundMAC: macs[0], Window: true}, Public},
		{"a bound address later", Facts{Confirmed: true, Source: own, MACs: macs, Bound: own, BoundMAC: macs[0]}, None},
		{"an address that is bound to another machine", Facts{Confirmed: true, Source: own, MACs: macs, Bound: own, BoundMAC: "52:54:00:00:00:66", Window: true}, None},
		{"another address than the bound one", Facts{Confirmed: true, Source: other, MACs: macs, Bound: own, BoundMAC: macs[0], Window: true}, None},
		{"no address at all", Facts{MACs: macs, BoundMAC: macs[0], Window: true}, None},
		{"a binding without MAC", Facts{Source: own, MACs: []string{""}, Bound: own, Window: true}, None},
		{"a machine without MACs", Facts{Source: own, Bound: own, BoundMAC: macs[0], Window: true}, None},
		{"this machine itself", Facts{Source: netip.MustParseAddr("127.0.0.1"), MACs: macs, Bound: netip.MustParseAddr("127.0.0.1"), BoundMAC: macs[0], Window: true}, None},
	} {
		if got := Allow(c.facts); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestSeen(t *testing.T) {
	bound := func(a netip.Addr) (Binding, bool) {
		return Binding{MAC: "52:54:00:00:00:01"}, a == netip.MustParseAddr("10.0.0.5")
	}
	for _, c := range []struct {
		name, source string
		macs         []string
		want         bool
	}{
		{"the machine", "10.0.0.5", []string{"52:54:00:00:00:02", "52:54:00:00:00:01"}, true},
		{"the machine, written as IPv6", "::ffff:10.0.0.5", []string{"52:54:00:00:00:01"}, true},
		{"someone who says to be another machine", "10.0.0.5", []string{"52:54:00:00:00:02"}, false},
		{"someone from elsewhere", "10.0.0.6", []string{"52:54:00:00:00:01"}, false},
		{"a machine without MACs", "10.0.0.5", nil, false},
	} {
		if got := Seen(bound, netip.MustParseAddr(c.source), c.macs); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
	if Seen(nil, netip.MustParseAddr("10.0.0.5"), []string{""}) || Seen(bound, netip.Addr{}, []string{"52:54:00:00:00:01"}) {
		t.Error("nobody is seen by nobody")
	}
}
