package dhcp

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestFullReplies(t *testing.T) {
	plain := all(str(optClass, "udhcp 1.35.0"))
	everything := change(fullPlan(""), func(p *Plan) {
		p.Lease.Domain = "rack.example"
		p.Lease.NTP = []netip.Addr{netip.MustParseAddr("10.77.0.4")}
		p.Lease.Log = []netip.Addr{edgeAddr}
		p.Lease.Routes = []Route{{netip.MustParsePrefix("169.254.169.254/32"), edgeAddr}, {netip.MustParsePrefix("10.128.0.0/9"), netip.MustParseAddr("10.77.0.7")}}
	})
	authority := change(fullPlan(""), func(p *Plan) { p.Authoritative = true })
	const rest = `
			1 ffffff00
			3 0a4d0001
			6 0a4d000209090909
			12 pc1
			51 00000258
			54 0a4d0003`
	for _, c := range []struct {
		name    string
		packet  []byte
		ingress Ingress
		plan    Plan
		want    string
	}{
		{"DISCOVER of a client that can receive by its hardware address", packet(discover, pcMAC, plain), on67(), fullPlan(""), `
			OFFER to 10.77.0.50:68 at 525400770001
			yiaddr 10.77.0.50` + rest},
		{"DISCOVER of one that cannot", packet(discover, pcMAC, plain, wantsBroadcast), on67(), fullPlan(""), `
			OFFER to 255.255.255.255:68
			yiaddr 10.77.0.50
			flags 8000` + rest},
		{"DISCOVER that claims an address is not answered there", packet(discover, pcMAC, plain, at(12, "10.99.0.1")), on67(), fullPlan(""), `
			OFFER to 10.77.0.50:68 at 525400770001
			yiaddr 10.77.0.50` + rest},
		{"DISCOVER by a relay", packet(discover, pcMAC, plain, at(24, "10.88.0.1")), on67(), fullPlan(""), `
			OFFER to 10.88.0.1:67
			yiaddr 10.77.0.50
			giaddr 10.88.0.1` + rest},
		{"DISCOVER of OVMF: address and boot file in one", packet(discover, pcMAC, ovmf), on67(), fullPlan("snponly.efi"), `
			OFFER to 10.77.0.50:68 at 525400770001
			yiaddr 10.77.0.50
			siaddr 10.77.0.3
			sname 10.77.0.3
			file snponly.efi
			1 ffffff00
			3 0a4d0001
			6 0a4d000209090909
			12 pc1
			43 060108ff
			51 00000258
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3
			97 0033221100554477668899aabbccddeeff`},
		{"DISCOVER of iPXE: it waits for no proxy", packet(discover, pcMAC, ipxeROM), on67(), fullPlan("http://10.77.0.3/m.ipxe"), `
			OFFER to 10.77.0.50:68 at 525400770001
			yiaddr 10.77.0.50
			siaddr 10.77.0.3
			sname 10.77.0.3
			file http://10.77.0.3/m.ipxe
			1 ffffff00
			3 0a4d0001
			6 0a4d000209090909
			12 pc1
			51 00000258
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3
			175 b00101ff`},
		{"everything that a lease can say", packet(discover, pcMAC, plain, opt(optWants, 1, 3, 121)), on67(), everything, `
			OFFER to 10.77.0.50:68 at 525400770001
			yiaddr 10.77.0.50
			1 ffffff00
			3 0a4d0001
			6 0a4d000209090909
			7 0a4d0003
			12 pc1
			15 rack.example
			42 0a4d0004
			51 00000258
			54 0a4d0003
			121 20a9fea9fe0a4d0003090a800a4d0007000a4d0001`},
		{"routes only for those who take them", packet(discover, pcMAC, plain, opt(optWants, 1, 3)), on67(), everything, `
			OFFER to 10.77.0.50:68 at 525400770001
			yiaddr 10.77.0.50
			1 ffffff00
			3 0a4d0001
			6 0a4d000209090909
			7 0a4d0003
			12 pc1
			15 rack.example
			42 0a4d0004
			51 00000258
			54 0a4d0003`},
		{"options of the plan's own come last", packet(discover, pcMAC, plain), on67(), change(fullPlan(""), func(p *Plan) { p.Options = map[uint8][]byte{12: []byte("other"), 224: {7}} }), `
			OFFER to 10.77.0.50:68 at 525400770001
			yiaddr 10.77.0.50
			1 ffffff00
			3 0a4d0001
			6 0a4d000209090909
			12 other
			51 00000258
			54 0a4d0003
			224 07`},
		{"REQUEST of our offer", packet(request, pcMAC, plain, addr(optServerID, "10.77.0.3"), addr(optRequested, "10.77.0.50")), on67(), fullPlan(""), `
			ACK to 10.77.0.50:68 at 525400770001
			yiaddr 10.77.0.50` + rest},
		{"REQUEST after a restart", packet(request, pcMAC, plain, addr(optRequested, "10.77.0.50")), on67(), fullPlan(""), `
			ACK to 10.77.0.50:68 at 525400770001
			yiaddr 10.77.0.50` + rest},
		{"REQUEST to renew", packet(request, pcMAC, plain, at(12, "10.77.0.50")), on67(), fullPlan(""), `
			ACK to 10.77.0.50:68
			yiaddr 10.77.0.50
			ciaddr 10.77.0.50` + rest},
		{"INFORM: everything but an address", packet(inform, pcMAC, plain, at(12, "10.77.0.66")), on67(), fullPlan(""), `
			ACK to 10.77.0.66:68
			ciaddr 10.77.0.66
			1 ffffff00
			3 0a4d0001
			6 0a4d000209090909
			12 pc1
			54 0a4d0003`},
		{"REQUEST on 4011 of a machine that is ours", packet(request, pcMAC, str(optClass, "PXEClient"), at(12, "10.77.0.50")), on4011(), fullPlan("x"), `
			ACK to 10.77.0.50:4011
			ciaddr 10.77.0.50
			siaddr 10.77.0.3
			sname 10.77.0.3
			file x
			43 060108ff
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3`},
		{"REQUEST of another address by a machine that is ours", packet(request, pcMAC, plain, addr(optRequested, "10.77.0.99")), on67(), authority, `
			NAK to 255.255.255.255:68
			54 0a4d0003
			56 your address is 10.77.0.50`},
		{"the same by a relay, which must broadcast it", packet(request, pcMAC, plain, addr(optRequested, "10.77.0.99"), at(24, "10.88.0.1"), opt(optRelayInfo, 1, 1, 1)), on67(), authority, `
			NAK to 10.88.0.1:67
			giaddr 10.88.0.1
			flags 8000
			54 0a4d0003
			56 your address is 10.77.0.50
			82 010101`},
		{"the same when it renews", packet(request, pcMAC, plain, at(12, "10.77.0.99")), on67(), authority, `
			NAK to 255.255.255.255:68
			54 0a4d0003
			56 your address is 10.77.0.50`},
		{"REQUEST of another address from us by name", packet(request, pcMAC, plain, addr(optServerID, "10.77.0.3"), addr(optRequested, "10.77.0.99")), on67(), fullPlan(""), `
			NAK to 255.255.255.255:68
			54 0a4d0003
			56 your address is 10.77.0.50`},

		{"REQUEST of another address without authority", packet(request, pcMAC, plain, addr(optRequested, "10.77.0.99")), on67(), fullPlan(""), "no answer: it asks for 10.77.0.99 and not for 10.77.0.50"},
		{"REQUEST of another server's offer", packet(request, pcMAC, plain, addr(optServerID, "10.77.0.1"), addr(optRequested, "10.77.0.99")), on67(), authority, "no answer: it has chosen the server 10.77.0.1"},
		{"REQUEST of nothing", packet(request, pcMAC, plain), on67(), authority, "no answer: it asks for no address"},
		{"RELEASE", packet(release, pcMAC, plain, at(12, "10.77.0.50")), on67(), fullPlan(""), "no answer: nothing is expected"},
		{"DECLINE", packet(decline, pcMAC, plain, addr(optRequested, "10.77.0.50")), on67(), fullPlan(""), "no answer: nothing is expected"},
		{"INFORM without an address", packet(inform, pcMAC, plain), on67(), fullPlan(""), "no answer: an INFORM must say"},
		{"a plan without an address", packet(discover, pcMAC, plain), on67(), Plan{Mode: Full}, "a full answer needs an IPv4 prefix and a time"},
		{"a router of IPv6", packet(discover, pcMAC, plain), on67(), change(fullPlan(""), func(p *Plan) { p.Lease.Router = netip.MustParseAddr("fd77::1") }), "option 3: fd77::1 is no IPv4 address"},
		{"a host name with a line's end", packet(discover, pcMAC, plain), on67(), change(fullPlan(""), func(p *Plan) { p.Lease.Host = "a\nb" }), `the name "a\nb" has bytes`},
		{"a route of IPv6", packet(discover, pcMAC, plain), on67(), change(fullPlan(""), func(p *Plan) { p.Lease.Routes = []Route{{netip.MustParsePrefix("fd00::/8"), edgeAddr}} }), "the route to fd00::/8"},
		{"an option that is too long", packet(discover, pcMAC, plain), on67(), change(fullPlan(""), func(p *Plan) { p.Options = map[uint8][]byte{224: make([]byte, 256)} }), "option 224 would have 256 bytes"},
		{"a message type of the plan's own", packet(discover, pcMAC, plain), on67(), change(fullPlan(""), func(p *Plan) { p.Options = map[uint8][]byte{53: {6}} }), "the plan sets option 53"},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.packet, c.ingress, c.plan, c.want) })
	}
}

func TestAnswersFitWhatTheClientTakes(t *testing.T) {
	big := change(fullPlan("http://10.77.0.3/"+strings.Repeat("x", 200)), func(p *Plan) {
		p.Lease.Domain = strings.Repeat("d", 60)
		p.Lease.NTP, p.Lease.Log = p.Lease.DNS, p.Lease.DNS
	})
	for _, c := range []struct {
		name  string
		size  field
		limit int
		gone  []uint8
		kept  []uint8
	}{
		{"a client that says nothing", opt(94, 1, 3, 0), 548, []uint8{optNTP, optLog, optDomain}, []uint8{optBootFile, optHostname, optTFTPServer}},
		{"a client that says too little", opt(optMaxSize, 0, 100), 548, []uint8{optNTP, optLog, optDomain}, []uint8{optBootFile}},
		{"a client that takes what Ethernet carries", opt(optMaxSize, 0x05, 0xc0), 1444, nil, []uint8{optNTP, optLog, optDomain, optBootFile}},
		{"EDK2's REQUEST", opt(optMaxSize, 0xff, 0), 1444, nil, []uint8{optNTP, optLog, optDomain, optBootFile}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := mustClassify(t, packet(discover, pcMAC, str(optClass, "PXEClient"), opt(optArch, 0, 7), c.size), on67())
			p, _, err := Reply(in, big, edgeAddr)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(p.ToBytes()); n > c.limit {
				t.Errorf("got %d bytes, want at most %d", n, c.limit)
			}
			for _, code := range c.gone {
				if len(p.Options[code]) > 0 {
					t.Errorf("got option %d", code)
				}
			}
			for _, code := range c.kept {
				if len(p.Options[code]) == 0 {
					t.Errorf("got no option %d", code)
				}
			}
			over := change(big, func(p *Plan) { p.Options = map[uint8][]byte{224: make([]byte, 255)} })
			if _, _, err := Reply(in, over, edgeAddr); (err != nil) != (c.limit == 548) {
				t.Errorf("255 bytes more: got %v", err)
			}
		})
	}
}

func TestReplyNeedsAnAddressOfItsOwn(t *testing.T) {
	c := mustClassify(t, packet(discover, pcMAC, ovmf), on67())
	for _, self := range []netip.Addr{{}, netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("fd77::1")} {
		if _, _, err := Reply(c, proxyPlan("x"), self); err == nil || !strings.Contains(err.Error(), `give the interface "eth0" an IPv4 address`) {
			t.Errorf("%s: got %v", self, err)
		}
	}
}

func TestLeaseTimes(t *testing.T) {
	for d, want := range map[time.Duration]uint32{time.Millisecond: 1, time.Minute: 60, 1 << 62: 1<<32 - 1} {
		if got := seconds(d); got != want {
			t.Errorf("%s: got %d, want %d", d, got, want)
		}
	}
}
