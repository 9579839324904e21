package dhcp6

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// full gives the machine its address.
func full(change ...func(*Plan)) Plan {
	p := Plan{Mode: Stateful, Authoritative: true, Lease: Lease{Address: ours, Preferred: 100 * time.Second, Valid: 200 * time.Second},
		OnLink: []netip.Prefix{netip.MustParsePrefix("fd77::/64")}, DNS: []netip.Addr{netip.MustParseAddr("fd77::53"), netip.MustParseAddr("10.0.0.1")},
		Domains: []string{"example.org"}, NTP: []netip.Addr{netip.MustParseAddr("fd77::123")}}
	for _, f := range change {
		f(&p)
	}
	return p
}

func boots(url string) func(*Plan) { return func(p *Plan) { p.Boot.URL = url } }

func none(p *Plan) { p.Lease = Lease{} }

func modest(p *Plan) { p.Authoritative = false }

func revoked(p *Plan) { p.Revoke = true }

const (
	given = "3:7/50/80[5:fd77::21/100/200]"
	tftp  = "tftp://[fd77::1]/snponly.efi"
)

func TestReplies(t *testing.T) {
	optionsOnly := full(none, func(p *Plan) { p.Mode = Stateless })
	for _, c := range []struct {
		name   string
		packet []byte
		plan   Plan
		want   string // of dump behind "to …: ", or what an error says
	}{
		// SOLICIT
		{"a SOLICIT", packet(solicit, me, na(iaNA, 7)), full(), "ADVERTISE " + given},
		{"one with the wish for an address", packet(solicit, me, na(iaNA, 7, "fd77::99")), full(), "ADVERTISE " + given},
		{"from the edge that is first", packet(solicit, me, na(iaNA, 7)), full(func(p *Plan) { p.Preference = 255 }), "ADVERTISE 7:ff " + given},
		{"one for everything", packet(solicit, me, na(iaNA, 7), na(iaNA, 8), na(iaTA, 9), na(iaPD, 10)), full(),
			"ADVERTISE " + given + " 3:8/0/0[13:2] 4:9[13:2] 25:10/0/0[13:6]"},
		{"one of a machine without address", packet(solicit, me, na(iaNA, 7)), full(none), "ADVERTISE 3:7/0/0[13:2]"},
		{"one for no address", packet(solicit, me), full(), "no answer: it asks for no address"},
		{"one with rapid commit", packet(solicit, me, opt(rapid), na(iaNA, 7)), full(func(p *Plan) { p.Rapid = true }), "REPLY 14 " + given},
		{"one with rapid commit that is not granted", packet(solicit, me, opt(rapid), na(iaNA, 7)), full(), "ADVERTISE " + given},
		{"one with rapid commit and nothing to commit", packet(solicit, me, opt(rapid), na(iaNA, 7)), full(none, func(p *Plan) { p.Rapid = true }), "ADVERTISE 3:7/0/0[13:2]"},
		{"one that names a server", packet(solicit, me, toUs, na(iaNA, 7)), full(), "no answer: it is meant for all servers and names one"},
		{"one with options only", packet(solicit, me, na(iaNA, 7)), optionsOnly, "no answer: addresses are not ours to give"},
		{"one that is not to be answered", packet(solicit, me, na(iaNA, 7)), Plan{}, "no answer: the plan says so"},

		// REQUEST
		{"a REQUEST", packet(request, me, toUs, na(iaNA, 7, "fd77::21")), full(), "REPLY " + given},
		{"one without an address", packet(request, me, toUs, na(iaNA, 7)), full(), "REPLY " + given},
		{"one with another address of the link", packet(request, me, toUs, na(iaNA, 7, "fd77::99")), full(), "REPLY " + given},
		{"one with an address of another link", packet(request, me, toUs, na(iaNA, 7, "fd99::21")), full(), "REPLY 3:7/0/0[13:4]"},
		{"one of a machine without address", packet(request, me, toUs, na(iaNA, 7, "fd77::21")), full(none), "REPLY 3:7/0/0[13:2]"},
		{"one of a machine without address, of another link", packet(request, me, toUs, na(iaNA, 7, "fd99::21")), full(none), "REPLY 3:7/0/0[13:4]"},
		{"one that renews at other times", packet(request, me, toUs, na(iaNA, 7)), full(func(p *Plan) { p.Lease.Renew, p.Lease.Rebind = 40*time.Second, 90*time.Second }), "REPLY 3:7/40/90[5:fd77::21/100/200]"},
		{"one that would renew too late", packet(request, me, toUs, na(iaNA, 7)), full(func(p *Plan) { p.Lease.Renew, p.Lease.Rebind = 40*time.Second, 190*time.Second }), "REPLY " + given},
		{"one to another server", packet(request, me, opt(serverID, nobody...), na(iaNA, 7)), full(), "no answer: it has chosen another server, or none"},
		{"one to no server", packet(request, me, na(iaNA, 7)), full(), "no answer: it has chosen another server, or none"},

		// CONFIRM
		{"a CONFIRM on the link", packet(confirm, me, na(iaNA, 7, "fd77::21")), full(), "REPLY 13:0"},
		{"one on another link", packet(confirm, me, na(iaNA, 7, "fd77::21", "fd99::21")), full(), "REPLY 13:4"},
		{"one about nothing", packet(confirm, me, na(iaNA, 7)), full(), "no answer: it asks about no address"},
		{"one where nobody knows the link", packet(confirm, me, na(iaNA, 7, "fd77::21")), full(func(p *Plan) { p.OnLink = nil }), "no answer: nobody knows the networks of its link"},
		{"one that names a server", packet(confirm, me, toUs, na(iaNA, 7, "fd77::21")), full(), "no answer: it is meant for all servers and names one"},

		// RENEW
		{"a RENEW", packet(renew, me, toUs, na(iaNA, 7, "fd77::21")), full(), "REPLY " + given},
		{"one of an address that was the machine's", packet(renew, me, toUs, na(iaNA, 7, "fd77::20")), full(), "REPLY 3:7/50/80[5:fd77::21/100/200 5:fd77::20/0/0]"},
		{"one of nothing that is bound", packet(renew, me, toUs, na(iaNA, 7, "fd77::20")), full(none), "REPLY 3:7/0/0[13:3]"},
		{"one of an address of another link", packet(renew, me, toUs, na(iaNA, 7, "fd99::20")), full(none), "REPLY 3:7/0/0[5:fd99::20/0/0]"},
		{"one of an address that it must leave", packet(renew, me, toUs, na(iaNA, 7, "fd77::20")), full(none, revoked), "REPLY 3:7/0/0[5:fd77::20/0/0]"},
		{"one of an address that it must leave for another", packet(renew, me, toUs, na(iaNA, 7, "fd77::20")), full(revoked), "REPLY 3:7/50/80[5:fd77::21/100/200 5:fd77::20/0/0]"},
		{"one of a prefix", packet(renew, me, toUs, na(iaNA, 7, "fd77::21"), na(iaPD, 9)), full(), "REPLY " + given + " 25:9/0/0[13:3]"},
		{"one to another server", packet(renew, me, opt(serverID, nobody...), na(iaNA, 7)), full(), "no answer: it has chosen another server, or none"},

		// REBIND
		{"a REBIND", packet(rebind, me, na(iaNA, 7, "fd77::21")), full(), "REPLY " + given},
		{"one of what may be another server's", packet(rebind, me, na(iaNA, 7, "fd77::20")), full(none, modest), "no answer: it asks everyone to prolong an address that is not ours"},
		{"one of an address that it must leave", packet(rebind, me, na(iaNA, 7, "fd77::20")), full(none, revoked), "REPLY 3:7/0/0[5:fd77::20/0/0]"},
		{"one of what is nobody's", packet(rebind, me, na(iaNA, 7, "fd77::20")), full(none), "REPLY 3:7/0/0[13:3]"},
		{"one of an address of another link", packet(rebind, me, na(iaNA, 7, "fd99::20")), full(none, modest), "REPLY 3:7/0/0[5:fd99::20/0/0]"},
		{"one that names a server", packet(rebind, me, toUs, na(iaNA, 7, "fd77::21")), full(), "no answer: it is meant for all servers and names one"},

		// RELEASE and DECLINE
		{"a RELEASE", packet(release, me, toUs, na(iaNA, 7, "fd77::21")), full(), "REPLY 13:0"},
		{"one of another's address", packet(release, me, toUs, na(iaNA, 7, "fd77::22")), full(), "REPLY 13:0 3:7/0/0[13:3]"},
		{"one to another server", packet(release, me, opt(serverID, nobody...), na(iaNA, 7, "fd77::21")), full(), "no answer: it has chosen another server, or none"},
		{"a DECLINE", packet(decline, me, toUs, na(iaNA, 7, "fd77::21")), full(), "REPLY 13:0"},
		{"one of what it never had", packet(decline, me, toUs, na(iaNA, 7, "fd77::22"), na(iaPD, 9)), full(none), "REPLY 13:0 3:7/0/0[13:3] 25:9/0/0[13:3]"},

		// INFORMATION-REQUEST
		{"an INFORMATION-REQUEST", packet(information, me, opt(oro, 0, 23, 0, 24, 0, 31, 0, 56)), optionsOnly,
			"REPLY 23:fd770000000000000000000000000053 24:076578616d706c65036f726700 31:fd770000000000000000000000000123 56:00010010fd770000000000000000000000000123"},
		{"one of who gives addresses, too", packet(information, me, opt(oro, 0, 23)), full(), "REPLY 23:fd770000000000000000000000000053"},
		{"one with options of the subnet", packet(information, me, opt(oro, 0, 23, 0, 32, 0, 41)), full(func(p *Plan) {
			p.Options = map[uint16][]byte{23: netip.MustParseAddr("fd77::54").AsSlice(), 32: {0, 0, 1, 0}, 42: []byte("UTC")}
		}),
			"REPLY 23:fd770000000000000000000000000054 32:00000100"},
		{"one of nobody", packet(information, opt(oro, 0, 23)), optionsOnly, "REPLY 23:fd770000000000000000000000000053"},
		{"one for nothing", packet(information, me), optionsOnly, "REPLY"},
		{"one for us", packet(information, me, toUs), optionsOnly, "REPLY"},
		{"one for another server", packet(information, me, opt(serverID, nobody...)), optionsOnly, "no answer: it asks another server"},
		{"one for addresses", packet(information, me, na(iaNA, 7)), optionsOnly, "no answer: it wants addresses, with a message that is for options only"},

		// What to boot
		{"OVMF", packet(solicit, me, ovmf, na(iaNA, 7)), full(boots(tftp)), "ADVERTISE " + given + " 59:" + tftp},
		{"OVMF with parameters", packet(request, me, toUs, ovmf, na(iaNA, 7)), full(boots(tftp), func(p *Plan) { p.Boot.Params = []string{"a", "bc"} }), "REPLY " + given + " 59:" + tftp + " 60:00016100026263"},
		{"OVMF, HTTP boot", packet(solicit, me, ovmfHTTP, na(iaNA, 7)), full(boots("http://[fd77::1]:7380/uki/x.efi")),
			"ADVERTISE " + given + " 59:http://[fd77::1]:7380/uki/x.efi 16:00000157000a48545450436c69656e74 23:fd770000000000000000000000000053"},
		{"iPXE, which does not ask for it", packet(information, me, ipxeROM), full(none, boots("http://[fd77::1]:7380/boot.ipxe")),
			"REPLY 59:http://[fd77::1]:7380/boot.ipxe 23:fd770000000000000000000000000053 24:076578616d706c65036f726700"},
		{"an operating system", packet(information, me), full(boots(tftp)), "REPLY"},
		{"an operating system that asks for it", packet(information, me, opt(oro, 0, 59)), full(boots(tftp)), "REPLY 59:" + tftp},
		{"nothing to boot", packet(solicit, me, ovmf, na(iaNA, 7)), full(), "ADVERTISE " + given},
		{"HTTP for PXE", packet(solicit, me, ovmf, na(iaNA, 7)), full(boots("http://[fd77::1]/x")), "is none for UEFI's PXE"},
		{"a URL with a space", packet(solicit, me, ovmf, na(iaNA, 7)), full(boots("tftp://[fd77::1]/a b")), "not printable ASCII"},
		{"a long URL", packet(solicit, me, ovmf, na(iaNA, 7)), full(boots("tftp://[fd77::1]/" + strings.Repeat("x", 512))), "make it shorter"},

		// Plans that make no sense
		{"an IPv4 address", packet(solicit, me, na(iaNA, 7)), full(func(p *Plan) { p.Lease.Address = netip.MustParseAddr("10.0.0.1") }), "is no IPv6 address of a machine"},
		{"an address of the link", packet(solicit, me, na(iaNA, 7)), full(func(p *Plan) { p.Lease.Address = near }), "is no IPv6 address of a machine"},
		{"no time", packet(solicit, me, na(iaNA, 7)), full(func(p *Plan) { p.Lease.Valid = time.Second }), "the second is no longer than the first"},
		{"a name that is none", packet(information, me, opt(oro, 0, 24)), full(func(p *Plan) { p.Domains = []string{"a..b"} }), `"a..b" is no domain's name`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Reply(mustClassify(t, c.packet, toAll), c.plan, self)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) || strings.HasPrefix(c.want, "no answer") != IsSilent(err) {
					t.Errorf("got the error %q, want %q", err, c.want)
				}
				return
			}
			codec(t, a.Packet)
			// What a status says to people is not what this test is about.
			got := strings.TrimPrefix(dump(t, a), "to [fe80::5054:ff:fe77:1%eth0]:546: ")
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestWhoSendsToOneServerIsToldToAskAll(t *testing.T) {
	for message, want := range map[byte]string{
		request: "REPLY 13:5", renew: "REPLY 13:5", release: "REPLY 13:5", decline: "REPLY 13:5",
		solicit: "it is meant for all servers", confirm: "it is meant for all servers", rebind: "it is meant for all servers", information: "it is meant for all servers",
	} {
		p := packet(message, me, toUs, na(iaNA, 7, "fd77::21"))
		switch message {
		case solicit, confirm, rebind:
			p = packet(message, me, na(iaNA, 7, "fd77::21"))
		case information:
			p = packet(message, me)
		}
		a, err := Reply(mustClassify(t, p, to("fd77::1")), full(), self)
		got := ""
		if err == nil {
			got = strings.TrimPrefix(dump(t, a), "to [fe80::5054:ff:fe77:1%eth0]:546: ")
		} else if got = err.Error(); IsSilent(err) && strings.Contains(got, want) {
			continue
		}
		if got != want {
			t.Errorf("message %d: got %s, want %s", message, got, want)
		}
		if a, err := Reply(mustClassify(t, forward(0, "fd77::1", near.String(), p), to("fd77::1")), full(), self); err != nil || strings.Contains(dump(t, a), "13:5") {
			t.Errorf("message %d through a relay, which may ask one server: got %v %v", message, a.Message, err)
		}
	}
}

func TestRepliesThroughRelays(t *testing.T) {
	inner := packet(solicit, me, na(iaNA, 7))
	in := from("fd00::5")
	in.To = netip.MustParseAddr("fd00::1")
	in.From = netip.MustParseAddrPort("[fd00::5]:49152")
	for _, c := range []struct {
		name   string
		packet []byte
		want   string
	}{
		{"one", forward(0, "fd77::1", "fe80::2", inner), "to [fd00::5]:547: RELAY-REPL 0 fd77::1 fe80::2 9:{ADVERTISE " + given + "}"},
		{"one with what it wants back", forward(0, "fd77::1", "fe80::2", inner, opt(interfaceID, 'e', '0'), opt(remoteID, 0, 0, 0, 9, 'x'), opt(hardware, hexa("0001 525400770001")...)),
			"to [fd00::5]:547: RELAY-REPL 0 fd77::1 fe80::2 18:6530 37:0000000978 9:{ADVERTISE " + given + "}"},
		{"one with a port of its own", forward(0, "fd77::1", "fe80::2", inner, opt(relayPort, 0, 0)), "to [fd00::5]:49152: RELAY-REPL 0 fd77::1 fe80::2 135:0000 9:{ADVERTISE " + given + "}"},
		{"two", forward(1, "::", "fd00::9", forward(0, "fd77::1", "fe80::2", inner, opt(interfaceID, 1)), opt(interfaceID, 2)),
			"to [fd00::5]:547: RELAY-REPL 1 :: fd00::9 18:02 9:{RELAY-REPL 0 fd77::1 fe80::2 18:01 9:{ADVERTISE " + given + "}}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Reply(mustClassify(t, c.packet, in), full(), self)
			if err != nil {
				t.Fatal(err)
			}
			codec(t, a.Packet)
			if got := dump(t, a); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestAnswersAreSmallEnough(t *testing.T) {
	many := full(boots("http://[fd77::1]:7380/"+strings.Repeat("x", 400)), func(p *Plan) {
		for range 40 {
			p.DNS, p.NTP = append(p.DNS, p.DNS[0]), append(p.NTP, p.NTP[0])
		}
	})
	all := opt(oro, 0, 23, 0, 24, 0, 31, 0, 56)
	for _, c := range []struct {
		name   string
		fields field
		want   int
		has    string
	}{
		{"firmware", append(ovmfHTTP[:len(ovmfHTTP):len(ovmfHTTP)], all...), firmwareBytes, " 16:"},
		{"an operating system", append(opt(oro, 0, 59), all...), mostBytes, " 23:"},
	} {
		a, err := Reply(mustClassify(t, packet(information, me, c.fields), toAll), many, self)
		if err != nil || len(a.Packet) > c.want || !strings.Contains(dump(t, a), " 59:") || !strings.Contains(dump(t, a), c.has) {
			t.Errorf("%s: got %d bytes and %v, want %d at most, with what to boot", c.name, len(a.Packet), err, c.want)
		}
	}
	long := full(boots("tftp://[fd77::1]/x"), func(p *Plan) { p.Boot.Params = []string{strings.Repeat("x", 1000)} })
	if _, err := Reply(mustClassify(t, packet(information, me, ovmf), toAll), long, self); err == nil || !strings.Contains(err.Error(), "fewer parameters") {
		t.Errorf("got %v", err)
	}
}

func FuzzPackets(f *testing.F) {
	for _, p := range [][]byte{
		packet(solicit, me, ovmf, na(iaNA, 7)), packet(solicit, me, ovmfHTTP, opt(rapid), na(iaNA, 7), na(iaTA, 8), na(iaPD, 9)), packet(request, me, toUs, na(iaNA, 7, "fd77::21")),
		packet(rebind, me, na(iaNA, 7, "fd99::21")), packet(information, me, opt(39, 1, 2, 112, 99), opt(oro, 0, 23, 0, 41)), packet(release, me, toUs, na(iaNA, 7, "fd77::21")), packet(information, ipxeROM),
		forward(1, "::", "fd00::9", forward(0, "fd77::1", "fe80::2", packet(solicit, me, na(iaNA, 7)), opt(interfaceID, 1)), opt(relayPort, 0, 0)),
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Classify(b, toAll)
		if err != nil {
			return
		}
		subnets := func(p *Plan) {
			p.Options = map[uint16][]byte{32: {0, 0, 1, 0}, 23: make([]byte, 600), 41: make([]byte, 600)}
		}
		for _, plan := range []Plan{full(boots(tftp), func(p *Plan) { p.Rapid = true }), full(none, modest), full(revoked, subnets), full(none, revoked), {Mode: Stateless}} {
			a, err := Reply(c, plan, self)
			if err != nil {
				continue
			}
			if dump(t, a); len(a.Packet) > len(b)+mostBytes+maxRelays*(relayHeader+4) {
				t.Errorf("%d bytes in answer to %d", len(a.Packet), len(b))
			}
			for _, code := range []string{"fd77::99", "fd99::21"} {
				if strings.Contains(dump(t, a), code+"/100") {
					t.Errorf("gave the address %s, which is not in the plan", code)
				}
			}
		}
	})
}
