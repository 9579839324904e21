package netboot

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestFlagsOfIPv6(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"--interface eth1 --dhcp6 full", ""},
		{"--interface eth1 --dhcp6 stateless --autoconf no", ""},
		{"--dhcp6 full", "say with --interface which machines it is for"},
		{"--interface eth1 --dhcp6 proxy", `--dhcp6 "proxy": it is off, stateless or full`},
		{"--interface eth1 --dhcp6 full --autoconf maybe", `--autoconf "maybe": it is auto, yes or no`},
	} {
		var f Flags
		flags := pflag.NewFlagSet("edge", pflag.ContinueOnError)
		f.Add(flags)
		if err := flags.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := f.Check(); err != nil {
			got = err.Error()
		}
		if got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
			t.Errorf("%s: got %q, want %q", c.args, got, c.want)
		}
	}
}

func TestWhatIsAdvertised(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("fd77::/64"), netip.MustParsePrefix("fd78::/56"), netip.MustParsePrefix("fd79::1/128")}
	for _, c := range []struct {
		mode, autoconf string
		managed, own   bool
	}{
		{"full", "auto", true, false}, {"full", "yes", true, true}, {"stateless", "auto", false, true}, {"stateless", "no", false, false},
	} {
		f := Flags{v6: pxe6Flags{dhcp: c.mode, autoconf: c.autoconf}}
		o := f.offer(networks)
		if o.Managed != c.managed || !o.Other || o.Lifetime != 0 || len(o.Prefixes) != 2 {
			t.Fatalf("%+v: got %+v, want two networks, and no router", c, o)
		}
		if p := o.Prefixes[0]; p.Autonomous != c.own || !p.OnLink {
			t.Errorf("%+v: got %+v", c, p)
		}
		if o.Prefixes[1].Autonomous { // RFC 4862 §5.5.3: addresses of their own have 64 bits
			t.Errorf("%+v: machines may make addresses in %s", c, o.Prefixes[1].Prefix)
		}
	}
}

func TestAListenerThatHearsIPv6Already(t *testing.T) {
	for _, c := range []struct {
		at   string
		want bool
	}{{"[::]:7380", true}, {"[fd77::1]:7380", true}, {"[fd77::2]:7380", false}, {"10.0.0.1:7380", false}, {"0.0.0.0:7380", false}} {
		if got := answersAt(at(c.at), netip.MustParseAddr("fd77::1")); got != c.want {
			t.Errorf("%s: got %v, want %v", c.at, got, c.want)
		}
	}
}

// at is a listener at an address.
type at string

func (a at) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (a at) Close() error              { return nil }
func (a at) Addr() net.Addr            { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(string(a))) }
