package dhcp

import (
	"net/netip"
	"testing"
)

func TestWhatRelaysSay(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want Relay
		bad  bool
	}{
		{"nothing", nil, Relay{}, false},
		{"a circuit and a remote id only", []byte{1, 2, 'a', 'b', 2, 1, 'c'}, Relay{}, false},
		{"link selection", []byte{1, 1, 9, 5, 4, 10, 1, 0, 0}, Relay{Link: netip.MustParseAddr("10.1.0.0")}, false},
		{"server id override", []byte{11, 4, 10, 1, 0, 1}, Relay{ServerID: netip.MustParseAddr("10.1.0.1")}, false},
		{"both, and one of them twice", []byte{5, 4, 10, 1, 0, 0, 11, 4, 10, 1, 0, 1, 5, 4, 10, 2, 0, 0}, Relay{netip.MustParseAddr("10.1.0.0"), netip.MustParseAddr("10.1.0.1")}, false},
		{"an empty suboption", []byte{1, 0}, Relay{}, false},
		{"a code without a length", []byte{1, 1, 9, 5}, Relay{}, true},
		{"a length beyond the end", []byte{5, 5, 10, 1, 0, 0}, Relay{}, true},
		{"link selection of three bytes", []byte{5, 3, 10, 1, 0}, Relay{}, true},
		{"link selection of IPv6", append([]byte{5, 16}, make([]byte, 16)...), Relay{}, true},
		{"an override that is no host's", []byte{11, 4, 255, 255, 255, 255}, Relay{}, true},
	} {
		got, err := ReadRelay(c.in)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

func FuzzReadRelay(f *testing.F) {
	f.Add([]byte{1, 1, 9, 5, 4, 10, 1, 0, 0, 11, 4, 10, 1, 0, 1})
	f.Add([]byte{5, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ReadRelay(b)
		for _, a := range []netip.Addr{r.Link, r.ServerID} {
			if a.IsValid() && (err != nil || !a.Is4() || a.IsUnspecified() || a.IsMulticast()) {
				t.Errorf("%x: got %+v, %v", b, r, err)
			}
		}
	})
}

func TestOnlyRelaysAreBelieved(t *testing.T) {
	info := opt(optRelayInfo, 5, 4, 10, 1, 0, 0)
	subnet := addr(optSubnet, "10.2.0.0")
	relayed := at(24, "10.88.0.1")
	for _, c := range []struct {
		name         string
		fields       []field
		link, subnet string
		bad          bool
	}{
		{"by a relay", []field{relayed, info, subnet}, "10.1.0.0", "10.2.0.0", false},
		{"by the client itself", []field{info, subnet}, "invalid IP", "invalid IP", false},
		{"by a relay that sends nonsense", []field{relayed, opt(optRelayInfo, 5, 9), subnet}, "invalid IP", "10.2.0.0", true},
	} {
		got := mustClassify(t, packet(discover, pcMAC, c.fields...), on67())
		if got.Relay.Link.String() != c.link || got.Subnet.String() != c.subnet || got.RelayBad != c.bad {
			t.Errorf("%s: got %s, %s, %v", c.name, got.Relay.Link, got.Subnet, got.RelayBad)
		}
	}
}

func TestPacketsToThisEdgeAlone(t *testing.T) {
	for _, c := range []struct {
		to    string
		relay bool
		want  bool
	}{{"255.255.255.255", false, false}, {"10.77.0.255", false, false}, {"10.77.0.3", false, true}, {"10.9.0.3", false, true}, {"10.77.0.3", true, false}} {
		in := Client{Ingress: Ingress{To: netip.MustParseAddr(c.to)}, Own: []netip.Prefix{netip.MustParsePrefix("10.77.0.3/24")}}
		if c.relay {
			in.Gateway = netip.MustParseAddr("10.88.0.1")
		}
		if got := in.Direct(); got != c.want {
			t.Errorf("to %s, by a relay %v: got %v", c.to, c.relay, got)
		}
	}
	if (Client{}).Direct() {
		t.Error("to nobody knows whom: got true")
	}
}

func TestServerIDsOfRelays(t *testing.T) {
	override := all(at(24, "10.88.0.1"), opt(optRelayInfo, 11, 4, 10, 88, 0, 1))
	for _, c := range []struct {
		name   string
		packet []byte
		want   string
	}{
		{"an offer names the relay", packet(discover, pcMAC, override), `
			OFFER to 10.88.0.1:67
			yiaddr 10.77.0.50
			giaddr 10.88.0.1
			1 ffffff00
			3 0a4d0001
			6 0a4d000209090909
			12 pc1
			51 00000258
			54 0a580001
			82 0b040a580001`},
		{"a REQUEST that names the relay is ours", packet(request, pcMAC, override, addr(optServerID, "10.88.0.1"), addr(optRequested, "10.77.0.50")), `
			ACK to 10.88.0.1:67
			yiaddr 10.77.0.50
			giaddr 10.88.0.1
			1 ffffff00
			3 0a4d0001
			6 0a4d000209090909
			12 pc1
			51 00000258
			54 0a580001
			82 0b040a580001`},
		{"one that names another is not", packet(request, pcMAC, override, addr(optServerID, "10.77.0.3"), addr(optRequested, "10.77.0.50")), "no answer: it has chosen the server 10.77.0.3"},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.packet, on67(), fullPlan(""), c.want) })
	}
}

func TestRefusals(t *testing.T) {
	no := Plan{Mode: Full, Refuse: "the address is another's"}
	for _, c := range []struct {
		name   string
		packet []byte
		want   string
	}{
		{"a REQUEST", packet(request, pcMAC, addr(optRequested, "10.77.0.50")), `
			NAK to 255.255.255.255:68
			54 0a4d0003
			56 the address is another's`},
		{"a REQUEST of another server's offer", packet(request, pcMAC, addr(optRequested, "10.77.0.50"), addr(optServerID, "10.77.0.9")), "no answer: it has chosen the server 10.77.0.9"},
		{"a DISCOVER", packet(discover, pcMAC), "no answer: the address is another's"},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.packet, on67(), no, c.want) })
	}
}
