package leasefile

import (
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name, file, data string
		want             Kind // "": none
	}{
		{"a new journal of dhcpd", "x", "# The format of this file is documented in the dhcpd.leases(5) manual page.\n", ISCLeases},
		{"a journal with nothing but hosts and failover", "x", "failover peer \"a\" state {\n}\nlease 10.0.0.1 {\n", ISCLeases},
		{"a journal that is cut short", "x", "lease 10.0.0.1 {\n ends ne", ISCLeases},
		{"an empty file by its name", "/var/lib/misc/dnsmasq.leases", "", DnsmasqLeases},
		{"an empty file by its name on Windows", `C:\dhcpd.leases~`, "", ISCLeases},
		{"an empty file of any name", "x", "\n\n", ""},
		{"one host of dhcpd", "x", "host a { hardware ethernet 52:54:00:00:00:01; fixed-address 10.0.0.1; }", ISCConf},
		{"options of dhcpd behind a long comment", "x", strings.Repeat("# a\n", 50000) + "option domain-name \"x\";\n", ISCConf},
		{"DHCP options of dnsmasq", "x", "dhcp-option=3,10.0.0.1\n", DnsmasqConf},
		{"hosts of dnsmasq with an id", "x", "id:01:02,10.0.0.1\n", DnsmasqHosts},
		{"a lease of IPv6 only", "x", "duid 00:01:02\n", DnsmasqLeases},
		{"Kea's leases of IPv6", "x", "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid\n", KeaLeases},
		{"Kea's other server", "kea-dhcp6.conf", `{"Dhcp6": {}}`, KeaConf},
		{"a resolver's configuration", "x", "server=1.1.1.1\ncache-size=5\n", ""},
		{"YAML", "x", "machines:\n  - name: a\n", ""},
		{"a program", "x", "\x7fELF\x00\x01", ""},
		{"an Apache configuration", "x", "<VirtualHost *:80>\n</VirtualHost>\n", ""},
		{"nginx", "x", "events { }\nhttp { server { listen 80; } }\n", ""},
		{"a list of addresses", "x", "10.0.0.1,a\n10.0.0.2,b\n", ""},
		{"prose", "x", "To whom it may concern,\n\nthe server is broken.\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Detect(c.file, []byte(c.data))
			if got != c.want || ok != (c.want != "") {
				t.Errorf("got %q %v, want %q", got, ok, c.want)
			}
		})
	}
}
