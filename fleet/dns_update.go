package fleet

import (
	"fmt"
	"net/netip"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kiln-farm/kiln/internal/dnsname"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Words of dns_update.
const (
	namesMachines = "machines"
	namesClients  = "clients"
	reverseAuto   = "auto"
	reverseNone   = "none"
)

const (
	dnsPort = 53
	minTTL  = 10        // seconds
	maxTTL  = 24 * 3600 // seconds
)

// dnsUpdate reads where the names of a subnet are published.
func (r *reader) dnsUpdate(s *kilnv1.Subnet) take {
	return func(node *yaml.Node, where string) {
		u := &kilnv1.DNSUpdate{}
		s.DnsUpdate = u
		r.under = "dns_update."
		defer func() { r.under = "" }()
		r.object(node, where, map[string]take{
			"server": func(node *yaml.Node, where string) {
				if s, ok := r.scalar(node, where); ok {
					u.Server = normal(dnsServer)(s)
				}
			},
			"zone": r.zone(&u.Zone),
			"reverse": func(node *yaml.Node, where string) {
				if r.zone(&u.Reverse)(node, where); u.Reverse == reverseAuto {
					u.Reverse = ""
				}
			},
			"ttl": r.seconds(&u.TtlSeconds),
			"names": func(node *yaml.Node, where string) {
				s, ok := r.scalar(node, where)
				if ok && s != namesMachines && s != namesClients {
					r.complain(node.Line, "%s is %s; write %q for machines that are described, or %q for what others call themselves, too", where, quote(s), namesMachines, namesClients)
				}
				u.Clients = s == namesClients
			},
			"key": r.zone(&u.Key), // TSIG keys have names of DNS
		})
	}
}

// zone reads a name of DNS as Kiln compares it.
func (r *reader) zone(into *string) take {
	return func(node *yaml.Node, where string) {
		if s, ok := r.scalar(node, where); ok {
			*into = strings.ToLower(strings.TrimSuffix(s, "."))
		}
	}
}

// dnsServer is a server in the one form that intents have: "10.0.0.53:53".
func dnsServer(s string) (string, error) {
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		a, err := netip.ParseAddr(strings.Trim(s, "[]"))
		if err != nil {
			return "", fmt.Errorf("the DNS server %s is not an IP address, with or without a port; write it like \"10.0.0.53\" or \"10.0.0.53:5353\"", quote(s))
		}
		at = netip.AddrPortFrom(a, dnsPort)
	}
	if a := at.Addr(); a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" || a.Is4In6() || at.Port() == 0 {
		return "", fmt.Errorf("the DNS server %s cannot be one; write the address of the zone's primary server", quote(s))
	}
	return at.String(), nil
}

// dnsUpdate checks where the names of a subnet are published. Keys are those of zones, as the subnets before say.
func (c *checker) dnsUpdate(s *kilnv1.Subnet, prefix netip.Prefix, keys map[[2]string]string) {
	u := s.GetDnsUpdate()
	if u == nil {
		return
	}
	if u.GetServer() == "" {
		c.complain("dns_update", "its dns_update names no server; add the address of the zone's primary server, as in \"server: 10.0.0.53\"")
	} else if normal, err := dnsServer(u.GetServer()); c.must("dns_update.server", err) && normal != u.GetServer() {
		c.complain("dns_update.server", "the DNS server %s is not written as Kiln compares it; write %q", quote(u.GetServer()), normal)
	}
	switch {
	case u.GetZone() == "":
		c.complain("dns_update", "its dns_update names no zone; add one, as in \"zone: lab.example\"")
	case !zoneName(u.GetZone()) || len(u.GetZone()) > 253-1-maxLabel:
		c.complain("dns_update.zone", "%s is not a zone; write it like \"lab.example\"", quote(u.GetZone()))
	}
	switch reverse, want := u.GetReverse(), dnsname.Reverse(prefix.Addr()); {
	case reverse == "" || reverse == reverseNone:
	case !zoneName(reverse) || !dnsname.In(want, reverse) || !dnsname.In(dnsname.Reverse(lastOf(prefix)), reverse):
		c.complain("dns_update.reverse", "the reverse zone %s does not hold the pointers of %s, such as %s; write \"auto\" for %s, \"none\", or the zone that does",
			quote(reverse), prefix, want, dnsname.ReverseZone(prefix))
	}
	if n := u.GetTtlSeconds(); n != 0 && (n < minTTL || n > maxTTL) {
		c.complain("dns_update.ttl", "the ttl %s is not between %ds and %s; write one like \"5m\"", durationText(n), minTTL, durationText(maxTTL))
	}
	if u.GetKey() != "" && !zoneName(u.GetKey()) {
		c.complain("dns_update.key", "%s is not the name of a key; write the name that it has in the file of --dns-keys", quote(u.GetKey()))
	}
	at := [2]string{u.GetServer(), u.GetZone()}
	if other, ok := keys[at]; ok && other != u.GetKey() {
		c.complain("dns_update.key", "updates of zone %s at %s are signed with the key %s here and with %s in another subnet; name one key", bare(u.GetZone()), u.GetServer(), quote(u.GetKey()), quote(other))
	}
	keys[at] = u.GetKey()
}

func zoneName(s string) bool { return dnsname.IsName(s) && strings.ToLower(s) == s }

func dnsFields(u *kilnv1.DNSUpdate) []field {
	if u == nil {
		return nil
	}
	y := dnsYAML(u)
	var out []field
	for _, f := range []field{{name: "server", value: y.Server}, {name: "zone", value: y.Zone}, {name: "reverse", value: y.Reverse}, {name: "ttl", value: y.TTL},
		{name: "names", value: y.Names}, {name: "key", value: y.Key}} {
		f.name = "dns_update." + f.name
		out = append(out, f)
	}
	return out
}

type dnsUpdateYAML struct {
	Server  string `yaml:"server"`
	Zone    string `yaml:"zone"`
	Reverse string `yaml:"reverse,omitempty"`
	TTL     string `yaml:"ttl,omitempty"`
	Names   string `yaml:"names,omitempty"`
	Key     string `yaml:"key,omitempty"`
}

func dnsYAML(u *kilnv1.DNSUpdate) *dnsUpdateYAML {
	if u == nil {
		return nil
	}
	y := &dnsUpdateYAML{Server: strings.TrimSuffix(u.GetServer(), ":53"), Zone: u.GetZone(), Reverse: u.GetReverse(), TTL: durationText(u.GetTtlSeconds()), Key: u.GetKey()}
	if u.GetClients() {
		y.Names = namesClients
	}
	return y
}
