package fleet

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestDNSUpdatesAreReadAndWritten(t *testing.T) {
	const head = "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    dns_update: "
	for _, c := range []struct {
		name, yaml string
		want       *kilnv1.DNSUpdate
	}{
		{"all of it", `{server: "10.0.0.53:5353", zone: Lab.Example., reverse: 0.0.10.in-addr.arpa, ttl: 5m, names: clients, key: Kiln}`,
			&kilnv1.DNSUpdate{Server: "10.0.0.53:5353", Zone: "lab.example", Reverse: "0.0.10.in-addr.arpa", TtlSeconds: 300, Clients: true, Key: "kiln"}},
		{"what there must be", `{server: 10.0.0.53, zone: lab.example}`, &kilnv1.DNSUpdate{Server: "10.0.0.53:53", Zone: "lab.example"}},
		{"the words", `{server: "fd00::53", zone: lab.example, reverse: auto, names: machines}`, &kilnv1.DNSUpdate{Server: "[fd00::53]:53", Zone: "lab.example"}},
		{"no pointers", `{server: "[fd00::53]:54", zone: lab.example, reverse: none}`, &kilnv1.DNSUpdate{Server: "[fd00::53]:54", Zone: "lab.example", Reverse: "none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, faults := Parse([]File{{"m.yml", []byte(head + c.yaml + "\n")}}, Options{})
			if len(faults) > 0 || !proto.Equal(got.Intent.GetSubnets()[0].GetDnsUpdate(), c.want) {
				t.Fatalf("got %v %v, want %v", got.Intent, Faults(faults), c.want)
			}
			text, err := WriteYAML(got.Intent.GetSubnets(), nil)
			if err != nil {
				t.Fatal(err)
			}
			again, faults := Parse([]File{{"m.yml", text}}, Options{})
			if len(faults) > 0 || !proto.Equal(again.Intent, got.Intent) {
				t.Errorf("of\n%s\ngot %v %v", text, again.Intent, Faults(faults))
			}
		})
	}
	old := &kilnv1.Intent{Subnets: []*kilnv1.Subnet{{Name: "a", Prefix: "10.0.0.0/24", DnsUpdate: &kilnv1.DNSUpdate{Server: "10.0.0.53:53", Zone: "lab.example"}}}}
	next := &kilnv1.Intent{Subnets: []*kilnv1.Subnet{{Name: "a", Prefix: "10.0.0.0/24", DnsUpdate: &kilnv1.DNSUpdate{Server: "10.0.0.53:53", Zone: "lab.example", Clients: true, TtlSeconds: 60}}}}
	var b strings.Builder
	if err := WriteDiff(&b, Diff(old, next)); err != nil {
		t.Fatal(err)
	}
	if want := "~ subnet a\n    + dns_update.ttl: 1m\n    + dns_update.names: clients\n1 changed\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestBadDNSUpdatesGetASentence(t *testing.T) {
	const head = "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    dns_update:\n"
	const good = head + "      server: 10.0.0.53\n      zone: lab.example\n"
	for _, c := range []struct{ name, yaml, want string }{
		{"a text", "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    dns_update: 10.0.0.53\n", "m.yml:4: subnets[0].dns_update must be a mapping, not a text; write its keys below it, indented"},
		{"an unknown key", good + "      servers: x\n", `m.yml:7: unknown key "servers" in subnets[0].dns_update; did you mean "server"?`},
		{"no server", head + "      zone: lab.example\n", `m.yml:4: subnet a: its dns_update names no server; add the address of the zone's primary server, as in "server: 10.0.0.53"`},
		{"no zone", head + "      server: 10.0.0.53\n", `m.yml:4: subnet a: its dns_update names no zone; add one, as in "zone: lab.example"`},
		{"a name for a server", head + "      server: ns.lab.example\n      zone: lab.example\n",
			`m.yml:5: subnet a: the DNS server "ns.lab.example" is not an IP address, with or without a port; write it like "10.0.0.53" or "10.0.0.53:5353"`},
		{"everybody for a server", head + "      server: 0.0.0.0\n      zone: lab.example\n", `m.yml:5: subnet a: the DNS server "0.0.0.0" cannot be one; write the address of the zone's primary server`},
		{"a zone that is none", head + "      server: 10.0.0.53\n      zone: lab..example\n", `m.yml:6: subnet a: "lab..example" is not a zone; write it like "lab.example"`},
		{"the reverse zone of others", good + "      reverse: 1.0.10.in-addr.arpa\n",
			`m.yml:7: subnet a: the reverse zone "1.0.10.in-addr.arpa" does not hold the pointers of 10.0.0.0/24, such as 0.0.0.10.in-addr.arpa; write "auto" for 0.0.10.in-addr.arpa, "none", or the zone that does`},
		{"a reverse zone of a part", strings.Replace(good, "10.0.0.0/24", "10.0.0.0/23", 1) + "      reverse: 0.0.10.in-addr.arpa\n",
			`m.yml:7: subnet a: the reverse zone "0.0.10.in-addr.arpa" does not hold the pointers of 10.0.0.0/23, such as 0.0.0.10.in-addr.arpa; write "auto" for 0.10.in-addr.arpa, "none", or the zone that does`},
		{"a ttl that is too long", good + "      ttl: 2d\n", `m.yml:7: subnet a: the ttl 2d is not between 10s and 1d; write one like "5m"`},
		{"a ttl that is none", good + "      ttl: soon\n", `m.yml:7: subnets[0].dns_update.ttl is "soon", which is no time; write one like "10m", "12h" or "7d"`},
		{"other names", good + "      names: all\n", `m.yml:7: subnets[0].dns_update.names is "all"; write "machines" for machines that are described, or "clients" for what others call themselves, too`},
		{"a key with its secret", good + "      key: hmac-sha256:kiln:c2VjcmV0\n", `m.yml:7: subnet a: "hmac-sha256:kiln:c2vjcmv0" is not the name of a key; write the name that it has in the file of --dns-keys`},
		{"two keys of a zone", good + "      key: k1\n  - name: b\n    prefix: 10.0.1.0/24\n    dns_update: {server: 10.0.0.53, zone: lab.example, key: k2}\n",
			`m.yml:10: subnet b: updates of zone lab.example at 10.0.0.53:53 are signed with the key "k2" here and with "k1" in another subnet; name one key`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, faults := Parse([]File{{"m.yml", []byte(c.yaml)}}, Options{})
			if got := Faults(faults).Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
