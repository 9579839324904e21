package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const subnetsYAML = `subnets:
  - name: rack-a
    prefix: 10.0.0.0/24
    pools: ["10.0.0.100-10.0.0.199", 10.0.0.224/28, 10.0.0.250]
    exclude: ["10.0.0.150", 10.0.0.160 - 10.0.0.163]
    gateway: 10.0.0.1
    dns: [10.0.0.1, 10.0.0.2]
    domain: lab.example
    ntp: [10.0.0.1]
    lease: 7d
    boot_lease: 90s
    relays: [10.9.0.1]
    known_only: true
    options:
      121: ["10.1.0.0/16 10.0.0.2", "0.0.0.0/0 10.0.0.1"]
      26: 9000
      44: 10.0.0.3
      119: [lab.example, example]
      150: [10.0.0.3, 10.0.0.4]
      224: "0x0a0B"
      100: CET-1CEST
      19: false
    classes:
      - name: phones
        vendor_class: AASTRA
        user_class: desk
        arch: 0
        selector: {role: phone}
        pools: ["10.0.0.50-10.0.0.59"]
        lease: 1h
        options: {66: http://10.0.0.3/phones, 42: 10.0.0.3}
      - {name: uefi, arch: 7}
  - name: v6
    prefix: fd00::/64
    pools: ["fd00::1000-fd00::ffff"]
    gateway: fe80::1
    dns: ["fd00::1"]
    options: {24: [lab.example], 31: "fd00::1"}
`

func addressRange(from, to string) *kilnv1.AddressRange {
	return &kilnv1.AddressRange{From: from, To: to}
}

func described() []*kilnv1.Subnet {
	option := func(code uint32, value string) *kilnv1.DHCPOption {
		return &kilnv1.DHCPOption{Code: code, Value: []byte(value)}
	}
	return []*kilnv1.Subnet{
		{
			Name: "rack-a", Prefix: "10.0.0.0/24",
			Pools:   []*kilnv1.AddressRange{addressRange("10.0.0.100", "10.0.0.199"), addressRange("10.0.0.224", "10.0.0.239"), addressRange("10.0.0.250", "10.0.0.250")},
			Exclude: []*kilnv1.AddressRange{addressRange("10.0.0.150", "10.0.0.150"), addressRange("10.0.0.160", "10.0.0.163")},
			Gateway: "10.0.0.1", Dns: []string{"10.0.0.1", "10.0.0.2"}, Domain: "lab.example", Ntp: []string{"10.0.0.1"},
			LeaseSeconds: 7 * 86400, BootLeaseSeconds: 90, Relays: []string{"10.9.0.1"}, KnownOnly: true,
			Options: []*kilnv1.DHCPOption{
				option(19, "\x00"), option(26, "\x23\x28"), option(44, "\x0a\x00\x00\x03"), option(100, "CET-1CEST"),
				option(119, "\x03lab\x07example\x00\x07example\x00"), option(121, "\x10\x0a\x01\x0a\x00\x00\x02\x00\x0a\x00\x00\x01"),
				option(150, "\x0a\x00\x00\x03\x0a\x00\x00\x04"), option(224, "\x0a\x0b"),
			},
			Classes: []*kilnv1.ClientClass{
				{Name: "phones", VendorClass: "AASTRA", UserClass: "desk", Arch: 1, Selector: map[string]string{"role": "phone"},
					Pools: []*kilnv1.AddressRange{addressRange("10.0.0.50", "10.0.0.59")}, LeaseSeconds: 3600,
					Options: []*kilnv1.DHCPOption{option(42, "\x0a\x00\x00\x03"), option(66, "http://10.0.0.3/phones")}},
				{Name: "uefi", Arch: 8},
			},
		},
		{
			Name: "v6", Prefix: "fd00::/64", Pools: []*kilnv1.AddressRange{addressRange("fd00::1000", "fd00::ffff")}, Gateway: "fe80::1", Dns: []string{"fd00::1"},
			Options: []*kilnv1.DHCPOption{option(24, "\x03lab\x07example\x00"), option(31, "\xfd"+strings.Repeat("\x00", 14)+"\x01")},
		},
	}
}

func TestSubnetsAreReadAndWritten(t *testing.T) {
	want := &kilnv1.Intent{Subnets: described()}
	got, faults := Parse([]File{{"m.yml", []byte(subnetsYAML)}}, Options{})
	if len(faults) > 0 || !proto.Equal(got.Intent, want) {
		t.Fatalf("got  %v %v\nwant %v", got.Intent, Faults(faults), want)
	}
	want.Machines = []*kilnv1.Machine{{Name: "web-1", Macs: []string{"52:54:00:00:00:01", "10:22:33:44:55:66"}, Hostname: "web", Address: "10.0.0.101/24",
		Gateway: "10.0.0.1", Dns: []string{"10.0.0.2"}, Labels: map[string]string{"role": "web"}}}
	text, err := WriteYAML(want.Subnets, want.Machines)
	if err != nil {
		t.Fatal(err)
	}
	again, faults := Parse([]File{{"m.yml", text}}, Options{})
	if len(faults) > 0 || !proto.Equal(again.Intent, want) {
		t.Errorf("of\n%s\ngot  %v %v\nwant %v", text, again.Intent, Faults(faults), want)
	}
}

func TestDifferencesOfSubnets(t *testing.T) {
	old, new := &kilnv1.Intent{Subnets: described()}, &kilnv1.Intent{Subnets: described()[:1]}
	s := new.Subnets[0]
	s.Pools, s.LeaseSeconds, s.KnownOnly = s.Pools[:2], 43200, false
	s.Options = s.Options[1:]
	s.Options[0].Value = []byte{0x05, 0xdc}
	slices.Reverse(s.Classes)
	s.Classes[1].Pools = nil
	new.Subnets = append(new.Subnets, &kilnv1.Subnet{Name: "b", Prefix: "10.0.1.0/24"})
	var b strings.Builder
	if err := WriteDiff(&b, Diff(old, new)); err != nil {
		t.Fatal(err)
	}
	const want = `+ subnet b
    + prefix: 10.0.1.0/24
~ subnet rack-a
    ~ pools: 10.0.0.100-10.0.0.199, 10.0.0.224-10.0.0.239, 10.0.0.250 -> 10.0.0.100-10.0.0.199, 10.0.0.224-10.0.0.239
    ~ lease: 7d -> 12h
    - known_only: true
    ~ options.26: 9000 -> 1500
    ~ classes: phones, uefi -> uefi, phones
    - classes.phones.pools: 10.0.0.50-10.0.0.59
    - options.19: false
- subnet v6
1 added, 1 changed, 1 removed
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestBadSubnetsGetASentence(t *testing.T) {
	const (
		head   = "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    pools: [10.0.0.100-10.0.0.199]\n"
		second = "  - name: b\n    prefix: 10.0.1.0/24\n"
		class  = head + "    classes:\n      - name: phones\n        vendor_class: X\n"
	)
	for _, c := range []struct{ name, yaml, want string }{
		{"an unknown key", head + "    pool: []\n", `m.yml:5: unknown key "pool" in subnets[0]; did you mean "pools"?`},
		{"an unknown key of a class", class + "        vendor: x\n", `m.yml:8: unknown key "vendor" in subnets[0].classes[0]; there are arch, lease, name, options, pools, selector, user_class and vendor_class`},
		{"no name", "subnets:\n  - prefix: 10.0.0.0/24\n", `m.yml:2: subnet 1: "" is not a name; use up to 64 letters, digits, "-", "_", "." and "+", and begin with a letter or digit`},
		{"a name twice", head + "  - name: a\n    prefix: 10.0.1.0/24\n", `m.yml:5: subnet a: there is another subnet of that name; rename one of them`},
		{"no prefix", "subnets:\n  - name: a\n", `m.yml:2: subnet a: "" is not a network; write it like "10.0.0.0/24"`},
		{"an address for a prefix", "subnets:\n  - name: a\n    prefix: 10.0.0.7/24\n", `m.yml:3: subnet a: the prefix "10.0.0.7/24" is an address within; write the network, "10.0.0.0/24"`},
		{"everything for a prefix", "subnets:\n  - name: a\n    prefix: 0.0.0.0/0\n", `m.yml:3: subnet a: "0.0.0.0/0" is no network of machines; write one like "10.0.0.0/24"`},
		{"overlapping subnets", head + "  - name: b\n    prefix: 10.0.0.128/25\n", `m.yml:6: subnet b: its prefix 10.0.0.128/25 overlaps 10.0.0.0/24 of subnet a; an address is in one subnet only, so shrink one of them`},
		{"a later subnet around an earlier one", head + "  - name: b\n    prefix: 10.0.0.0/8\n", `m.yml:6: subnet b: its prefix 10.0.0.0/8 overlaps 10.0.0.0/24 of subnet a; an address is in one subnet only, so shrink one of them`},
		{"no range", "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    pools:\n      - nonsense\n", `m.yml:5: subnets[0].pools[0]: "nonsense" are no addresses; write them like "10.0.0.100-10.0.0.199" or "10.0.0.128/25"`},
		{"a range from behind", "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    pools:\n      - 10.0.0.9-10.0.0.5\n",
			`m.yml:5: subnet a: the pool "10.0.0.9-10.0.0.5" is no range; write it from the lower to the higher address, as in "10.0.0.100-10.0.0.199"`},
		{"a pool that begins within its prefix", "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    pools:\n      - 10.0.0.9/25\n", `m.yml:5: subnets[0].pools[0]: "10.0.0.9/25" is a prefix that begins within; write "10.0.0.0/25"`},
		{"a pool outside its subnet", "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    pools:\n      - 10.0.0.100-10.0.0.110\n      - 10.0.0.200-10.0.1.10\n",
			`m.yml:6: subnet a: the pool 10.0.0.200-10.0.1.10 is not inside of 10.0.0.0/24; correct one of them`},
		{"overlapping pools", "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    pools:\n      - 10.0.0.100-10.0.0.110\n      - 10.0.0.50-10.0.0.100\n",
			`m.yml:6: subnet a: the pool 10.0.0.50-10.0.0.100 overlaps the pool 10.0.0.100-10.0.0.110; give each address to one of them`},
		{"a class's pool over the subnet's", class + "        pools: [10.0.0.199-10.0.0.210]\n",
			`m.yml:8: subnet a: the pool 10.0.0.199-10.0.0.210 of class phones overlaps the pool 10.0.0.100-10.0.0.199; give each address to one of them`},
		{"the network's address in a pool", "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    pools: [10.0.0.0-10.0.0.9]\n",
			`m.yml:4: subnet a: the pool 10.0.0.0-10.0.0.9 holds 10.0.0.0, the network's own address; begin with 10.0.0.1`},
		{"the broadcast address in a pool", "subnets:\n  - name: a\n    prefix: 10.0.0.0/24\n    pools: [10.0.0.128/25]\n",
			`m.yml:4: subnet a: the pool 10.0.0.128-10.0.0.255 holds 10.0.0.255, the broadcast address; end with 10.0.0.254`},
		{"a gateway in a pool", head + "    gateway: 10.0.0.150\n", `m.yml:5: subnet a: the gateway 10.0.0.150 is inside of the pool 10.0.0.100-10.0.0.199, so that a machine would get its address; exclude it`},
		{"a gateway outside", head + "    gateway: 10.0.1.1\n", `m.yml:5: subnet a: the gateway 10.0.1.1 is not in 10.0.0.0/24, so that no machine reaches it; correct one of them`},
		{"a gateway of the other kind", head + "    gateway: fd00::1\n", `m.yml:5: subnet a: the gateway "fd00::1" is not an address of the kind of 10.0.0.0/24; correct it`},
		{"the broadcast address as gateway", head + "    gateway: 10.0.0.255\n", `m.yml:5: subnet a: the gateway 10.0.0.255 is the network's own or its broadcast address; write another one`},
		{"a name server in a pool", head + "    dns: [10.0.1.1, 10.0.0.199]\n", `m.yml:5: subnet a: the name server 10.0.0.199 is inside of the pool 10.0.0.100-10.0.0.199, so that a machine would get its address; exclude it`},
		{"a time server that is none", head + "    ntp:\n      - pool.ntp.org\n", `m.yml:6: subnet a: the time server "pool.ntp.org" is not an address of the kind of 10.0.0.0/24; correct it`},
		{"an excluded range outside", head + "    exclude: [10.1.0.1]\n", `m.yml:5: subnet a: the excluded 10.1.0.1 is not inside of 10.0.0.0/24; correct one of them`},
		{"an excluded range in no pool", head + "    exclude: [10.0.0.20]\n", `m.yml:5: subnet a: the excluded 10.0.0.20 is in no pool, so that nothing is excluded; leave it out or correct it`},
		{"a relay of two subnets", head + "    relays: [10.9.0.1]\n" + second + "    relays:\n      - 10.9.0.1\n", `m.yml:9: subnet b: the relay "10.9.0.1" is that of subnet a already; change one of them`},
		{"a relay that is none", head + "    relays: [x]\n", `m.yml:5: subnet a: the relay "x" is not an IP address; write it like "10.9.0.1"`},
		{"a domain that is none", head + "    domain: a b\n", `m.yml:5: subnet a: "a b" is not a domain; write it like "lab.example"`},
		{"a lease time that is none", head + "    lease: 12\n", `m.yml:5: subnets[0].lease is "12", which is no time; write one like "10m", "12h" or "7d"`},
		{"a lease time that is too short", head + "    boot_lease: 1s\n", `m.yml:5: subnet a: the lease time 1s is not between 10s and 365d; write one like "12h"`},
		{"an option of the server", head + "    options:\n      26: 1500\n      51: 60\n", `m.yml:7: subnet a: option 51 is the server's own to say; write the time as "lease"`},
		{"an option that is not known here", head + "    options: {224: text}\n", `m.yml:5: subnets[0].options.224: how option 224 is written is not known here; write its bytes in hex, as in "0x0a000001"`},
		{"an option of the server, in hex", head + "    options:\n      26: 1500\n      51: 0x00000e10\n", `m.yml:7: subnet a: option 51 is the server's own to say; write the time as "lease"`},
		{"another option of the server", head + "    options: {53: 0x05}\n", "m.yml:5: subnet a: option 53 is the server's own to say; leave it out"},
		{"what machines boot", head + "    options: {67: x}\n", "m.yml:5: subnet a: option 67 is the server's own to say; what machines boot is that of their groups, and what other devices do goes into a class with their vendor_class"},
		{"what machines boot, in a class of theirs", strings.Replace(class, "class: X", "class: PXE", 1) + "        options:\n          67: x\n",
			"m.yml:9: subnet a: option 67 is the server's own to say; what machines boot is that of their groups, and what other devices do goes into a class with their vendor_class"},
		{"an option with a key", head + "    dns: [10.0.0.1]\n    options: {6: 10.0.0.2}\n", `m.yml:6: subnet a: option 6 is what "dns" says, too; keep one of them`},
		{"an option that is no number", head + "    options: {mtu: 1500}\n", `m.yml:5: "mtu" is not the number of an option; write it like 42`},
		{"an option that is too large", head + "    options: {300: 0x00}\n", `m.yml:5: subnet a: there is no option 300; they go up to 254`},
		{"a number that is too large", head + "    options: {26: 65536}\n", `m.yml:5: subnets[0].options.26: "65536" is not a whole number of up to 16 bits; write one`},
		{"an address that is none", head + "    options: {42: time}\n", `m.yml:5: subnets[0].options.42: "time" is not an address of the subnet's kind; write one like "10.0.0.1", or several as a list`},
		{"bytes that are none", head + "    options: {224: 0x123}\n", `m.yml:5: subnets[0].options.224: "0x123" are no bytes in hex; write two digits for each, as in "0x0a000001"`},
		{"a route that is none", head + "    options: {121: 10.0.0.1}\n", `m.yml:5: subnets[0].options.121: "10.0.0.1" is no route; write the network and its router, as in "10.1.0.0/16 10.0.0.2"`},
		{"two numbers", head + "    options: {26: [1, 2]}\n", `m.yml:5: subnets[0].options.26: option 26 has one value and not 2; write one`},
		{"an option without end", head + "    options: {224: 0x" + strings.Repeat("00", 256) + "}\n", `m.yml:5: subnet a: option 224 has 256 bytes; it may have 1 to 255`},
		{"a class that fits nobody in particular", head + "    classes:\n      - {name: x}\n", `m.yml:6: subnet a: class x says of nobody that he is in it; give it a vendor_class, user_class, arch or selector`},
		{"a class twice", class + "      - {name: phones, arch: 7}\n", `m.yml:8: subnet a: there are two classes phones; rename one of them`},
		{"an arch that is none", class + "        arch: uefi\n", `m.yml:8: subnets[0].classes[0].arch must be a number of DHCP's option 93, not a text; write one, such as 7 for 64-bit UEFI`},
		{"a label of a class", class + "        selector: {a: b c}\n", `m.yml:8: subnet a: "b c" is not a label's value; use up to 63 letters, digits, "-", "_" and ".", and a value for longer text`},
		{"a fixed address with another prefix", head + "machines:\n  - name: m\n    mac: 52:54:00:00:00:01\n    address: 10.0.0.5/16\n",
			`m.yml:8: machine m: its address 10.0.0.5/16 is in subnet a, whose prefix is 10.0.0.0/24; write "10.0.0.5/24"`},
		{"two machines with one address of a pool", head + "machines:\n  - {name: m, mac: 52:54:00:00:00:01, address: 10.0.0.100/24}\n  - {name: n, mac: 52:54:00:00:00:02, address: 10.0.0.100/24}\n",
			`m.yml:7: machine n: the address "10.0.0.100" is that of machine m already; change one of them`},
		{"an option of the server in IPv6", "subnets:\n  - name: a\n    prefix: fd00::/64\n    options: {59: 0x00}\n", "m.yml:4: subnet a: option 59 is the server's own to say; what machines boot is that of their groups"},
		{"the routers' address in a pool of IPv6", "subnets:\n  - name: a\n    prefix: fd00::/64\n    pools: [fd00::/65]\n",
			`m.yml:4: subnet a: the pool fd00::-fd00::7fff:ffff:ffff:ffff holds fd00::, the network's own address; begin with fd00::1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, faults := Parse([]File{{"m.yml", []byte(c.yaml)}}, Options{})
			if got := Faults(faults).Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestWhatIsRightWithSubnets(t *testing.T) {
	for _, c := range []struct{ name, yaml string }{
		{"a fixed address inside of a pool", "subnets: [{name: a, prefix: 10.0.0.0/24, pools: [10.0.0.100-10.0.0.199]}]\nmachines: [{name: m, mac: 52:54:00:00:00:01, address: 10.0.0.100/24}]"},
		{"a gateway in a pool that is excluded", "subnets: [{name: a, prefix: 10.0.0.0/24, pools: [10.0.0.1-10.0.0.199], exclude: [10.0.0.1], gateway: 10.0.0.1}]"},
		{"a name server that is a machine of the subnet", "subnets: [{name: a, prefix: 10.0.0.0/24, pools: [10.0.0.1-10.0.0.199], dns: [10.0.0.5]}]\nmachines: [{name: m, mac: 52:54:00:00:00:01, address: 10.0.0.5/24}]"},
		{"neighbours", "subnets: [{name: a, prefix: 10.0.0.0/25}, {name: b, prefix: 10.0.0.128/25}, {name: c, prefix: 10.0.1.0/24}, {name: d, prefix: 'fd00::/64'}]"},
		{"two hosts on a wire", "subnets: [{name: a, prefix: 10.0.0.0/31, pools: [10.0.0.1], gateway: 10.0.0.0}]"},
		{"no pool", "subnets: [{name: a, prefix: 10.0.0.0/24, known_only: true}]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, faults := Parse([]File{{"m.yml", []byte(c.yaml)}}, Options{}); len(faults) > 0 {
				t.Error(Faults(faults))
			}
		})
	}
}

// What comes over the API has not been through Parse.
func TestSubnetsOfTheAPIAreChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(s *kilnv1.Subnet)
		want   string
	}{
		{"a range that is none", func(s *kilnv1.Subnet) { s.Pools[0].From = "x" },
			`subnet rack-a: the pool "x-10.0.0.199" is no range; write it from the lower to the higher address, as in "10.0.0.100-10.0.0.199"` + "\n" +
				"subnet rack-a: the excluded 10.0.0.150 is in no pool, so that nothing is excluded; leave it out or correct it\n" +
				"subnet rack-a: the excluded 10.0.0.160-10.0.0.163 is in no pool, so that nothing is excluded; leave it out or correct it"},
		{"an option twice", func(s *kilnv1.Subnet) { s.Options[1].Code = 19 }, "subnet rack-a: option 19 is there twice; keep one"},
		{"an option without bytes", func(s *kilnv1.Subnet) { s.Options[0].Value = nil }, "subnet rack-a: option 19 has 0 bytes; it may have 1 to 255"},
		{"an arch that is none", func(s *kilnv1.Subnet) { s.Classes[1].Arch = 1 << 20 }, "subnet rack-a: the arch of class uefi is no number of DHCP's option 93; write one, such as 7"},
		{"a vendor class without end", func(s *kilnv1.Subnet) { s.Classes[1].VendorClass = strings.Repeat("x", 256) },
			"subnet rack-a: the vendor_class of class uefi is longer than 255 bytes or holds a NUL; shorten it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := &kilnv1.Intent{Subnets: described()}
			c.change(in.Subnets[0])
			if got := Check(in).Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	in := &kilnv1.Intent{}
	for i := range maxSubnets + 1 {
		in.Subnets = append(in.Subnets, &kilnv1.Subnet{Name: fmt.Sprint("s", i)})
	}
	if got := Check(in).Error(); got != "there are 4097 subnets, more than 4096; give some of them to another farm" {
		t.Errorf("got %s", got)
	}
}

func TestAddressesOfPools(t *testing.T) {
	s := described()
	for _, c := range []struct {
		s     *kilnv1.Subnet
		count string
		in    []string
		out   []string
	}{
		{s[0], "122", []string{"10.0.0.100", "10.0.0.149", "10.0.0.151", "10.0.0.164", "10.0.0.250", "10.0.0.55"}, []string{"10.0.0.99", "10.0.0.150", "10.0.0.163", "10.0.0.251", "fd00::1000"}},
		{s[1], "61440", []string{"fd00::1000"}, []string{"fd00::", "10.0.0.100"}},
		{&kilnv1.Subnet{Pools: []*kilnv1.AddressRange{addressRange("fd00::", "fd00::ffff:ffff:ffff:ffff")}}, "18446744073709551616", []string{"fd00::1"}, nil},
		{&kilnv1.Subnet{Pools: []*kilnv1.AddressRange{addressRange("10.0.0.1", "10.0.0.9")}, Exclude: []*kilnv1.AddressRange{addressRange("10.0.0.0", "10.0.0.8"), addressRange("10.0.0.3", "10.0.0.9")}}, "0", nil, []string{"10.0.0.5"}},
	} {
		p := PooledOf(c.s)
		if got := p.Count().String(); got != c.count {
			t.Errorf("%s: got %s addresses, want %s", c.s.GetName(), got, c.count)
		}
		for _, a := range c.in {
			if !p.Has(netip.MustParseAddr(a)) {
				t.Errorf("%s: no %s", c.s.GetName(), a)
			}
		}
		for _, a := range c.out {
			if p.Has(netip.MustParseAddr(a)) {
				t.Errorf("%s: has %s", c.s.GetName(), a)
			}
		}
	}
	n := NetworksOf(append(s, &kilnv1.Subnet{Name: "x", Prefix: "none"}))
	for a, want := range map[string]string{"10.0.0.7": "rack-a", "10.0.1.7": "", "fd00::7": "v6"} {
		if got := n.Of(netip.MustParseAddr(a)).GetName(); got != want {
			t.Errorf("%s is in %q, want %q", a, got, want)
		}
	}
}
