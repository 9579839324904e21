package dhcp

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

var edgeAddr = netip.MustParseAddr("10.77.0.3") // 0a4d0003

func proxyPlan(file string) Plan { return Plan{Mode: Proxy, Boot: Boot{File: file}} }

func fullPlan(file string) Plan {
	return Plan{Mode: Full, Boot: Boot{File: file}, Lease: Lease{
		Address: netip.MustParsePrefix("10.77.0.50/24"), Router: netip.MustParseAddr("10.77.0.1"), DNS: []netip.Addr{netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("9.9.9.9")},
		Host: "pc1", Time: 10 * time.Minute}}
}

// change makes a plan out of another.
func change(p Plan, f func(*Plan)) Plan {
	f(&p)
	return p
}

func TestProxyReplies(t *testing.T) {
	const uuidHex = "97 0033221100554477668899aabbccddeeff"
	long := "http://10.77.0.3/boot/" + strings.Repeat("0123456789", 12) + "/x.efi"
	for _, c := range []struct {
		name    string
		packet  []byte
		ingress Ingress
		plan    Plan
		want    string // of dump, or what an error says
	}{
		{"OVMF: boots without port 4011", packet(discover, pcMAC, ovmf), on67(), proxyPlan("t/snponly.efi"), `
			OFFER to 255.255.255.255:68
			siaddr 10.77.0.3
			sname 10.77.0.3
			file t/snponly.efi
			43 060108ff
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3
			` + uuidHex},
		{"arm64", packet(discover, pcMAC, aavmf), on67(), proxyPlan("t/snponly-arm64.efi"), `
			OFFER to 255.255.255.255:68
			siaddr 10.77.0.3
			sname 10.77.0.3
			file t/snponly-arm64.efi
			43 060108ff
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3
			` + uuidHex},
		{"BIOS, which asked for broadcasts", packet(discover, pcMAC, biosROM), on67(), proxyPlan("undionly.kpxe"), `
			OFFER to 255.255.255.255:68
			siaddr 10.77.0.3
			sname 10.77.0.3
			file undionly.kpxe
			flags 8000
			43 060108ff
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3
			` + uuidHex},
		{"a ROM without UUID and architecture", packet(discover, pcMAC, str(optClass, "PXEClient")), on67(), proxyPlan("undionly.kpxe"), `
			OFFER to 255.255.255.255:68
			siaddr 10.77.0.3
			sname 10.77.0.3
			file undionly.kpxe
			43 060108ff
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3`},
		{"UEFI HTTP: the class of the client and no option 43", packet(discover, pcMAC, ovmfHTTP), on67(), proxyPlan("http://10.77.0.3/t/uki.efi"), `
			OFFER to 255.255.255.255:68
			siaddr 10.77.0.3
			sname 10.77.0.3
			file http://10.77.0.3/t/uki.efi
			54 0a4d0003
			60 HTTPClient
			66 10.77.0.3
			` + uuidHex},
		{"a URL that does not fit the field goes into option 67, with a zero byte", packet(discover, pcMAC, ovmfHTTP), on67(), proxyPlan(long), `
			OFFER to 255.255.255.255:68
			siaddr 10.77.0.3
			sname 10.77.0.3
			54 0a4d0003
			60 HTTPClient
			66 10.77.0.3
			67 ` + hex.EncodeToString([]byte(long+"\x00")) + `
			` + uuidHex},
		{"a URL that just fits the field", packet(discover, pcMAC, ovmfHTTP), on67(), proxyPlan(long[:127]), `
			OFFER to 255.255.255.255:68
			siaddr 10.77.0.3
			sname 10.77.0.3
			file ` + long[:127] + `
			54 0a4d0003
			60 HTTPClient
			66 10.77.0.3
			` + uuidHex},
		{"iPXE: a script at once", packet(discover, pcMAC, ipxeROM), on67(), proxyPlan("http://10.77.0.3/boot/m.ipxe"), `
			OFFER to 255.255.255.255:68
			siaddr 10.77.0.3
			sname 10.77.0.3
			file http://10.77.0.3/boot/m.ipxe
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3`},
		{"a Raspberry Pi: its menu, and to its own address", packet(discover, piMAC, piROM), on67(), proxyPlan(""), `
			OFFER to 255.255.255.255:68 at dca632010203
			siaddr 10.77.0.3
			sname 10.77.0.3
			43 060108091400001152617370626572727920506920426f6f740a0400505845ff
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3
			97 0052506934554477668899aabbccddeeff`},
		{"another boot server", packet(discover, pcMAC, ovmf), on67(), Plan{Mode: Proxy, Boot: Boot{Server: netip.MustParseAddr("10.77.0.9"), File: "x"}}, `
			OFFER to 255.255.255.255:68
			siaddr 10.77.0.9
			sname 10.77.0.9
			file x
			43 060108ff
			54 0a4d0003
			60 PXEClient
			66 10.77.0.9
			` + uuidHex},
		{"behind a relay (smee#382)", packet(discover, pcMAC, str(optClass, "PXEClient"), at(24, "10.88.0.1"), opt(optRelayInfo, 1, 2, 3, 4), opt(optClientID, 1, 9)), on67(), proxyPlan("x"), `
			OFFER to 10.88.0.1:67
			siaddr 10.77.0.3
			giaddr 10.88.0.1
			sname 10.77.0.3
			file x
			43 060108ff
			54 0a4d0003
			60 PXEClient
			61 0109
			66 10.77.0.3
			82 01020304`},
		{"REQUEST on 4011 from EDK2, which names no server", packet(request, pcMAC, str(optClass, "PXEClient:Arch:00007"), opt(optArch, 0, 7), at(12, "10.77.0.50")), on4011(), proxyPlan("x.efi"), `
			ACK to 10.77.0.50:4011
			ciaddr 10.77.0.50
			siaddr 10.77.0.3
			sname 10.77.0.3
			file x.efi
			43 060108ff
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3`},
		{"REQUEST on 4011 that names us, of a BIOS (netboot#132)", packet(request, pcMAC, biosROM, addr(optServerID, "10.77.0.3")), on4011(), proxyPlan("undionly.kpxe"), `
			ACK to 10.77.0.50:4011
			siaddr 10.77.0.3
			sname 10.77.0.3
			file undionly.kpxe
			flags 8000
			43 060108ff
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3
			` + uuidHex},
		{"INFORM on 4011", packet(inform, pcMAC, str(optClass, "PXEClient"), at(12, "10.77.0.50")), on4011(), proxyPlan("x"), `
			ACK to 10.77.0.50:4011
			ciaddr 10.77.0.50
			siaddr 10.77.0.3
			sname 10.77.0.3
			file x
			43 060108ff
			54 0a4d0003
			60 PXEClient
			66 10.77.0.3`},

		{"REQUEST on 4011 for another edge", packet(request, pcMAC, ovmf, addr(optServerID, "10.77.0.4")), on4011(), proxyPlan("x"), "no answer: it asks the boot server 10.77.0.4"},
		{"DISCOVER on 4011", packet(discover, pcMAC, ovmf), on4011(), proxyPlan("x"), "no answer: on port 4011 only REQUEST"},
		{"REQUEST on 67", packet(request, pcMAC, ovmf, addr(optServerID, "10.77.0.1"), addr(optRequested, "10.77.0.50")), on67(), proxyPlan("x"), "no answer: the site's own server answers"},
		{"REQUEST on 67 that names us", packet(request, pcMAC, ovmf, addr(optServerID, "10.77.0.3")), on67(), proxyPlan("x"), "no answer: the site's own server answers"},
		{"DECLINE", packet(decline, pcMAC, ovmf), on67(), proxyPlan("x"), "no answer: the site's own server answers"},
		{"an operating system", packet(discover, pcMAC, str(optClass, "udhcp 1.35.0")), on67(), proxyPlan("x"), "no answer: it does not ask for something to boot"},
		{"an operating system on 4011", packet(request, pcMAC), on4011(), proxyPlan("x"), "no answer: it does not ask for something to boot"},
		{"a plan to be silent", packet(discover, pcMAC, ovmf), on67(), Plan{}, "no answer: the plan says so"},
		{"nothing to boot", packet(discover, pcMAC, ovmf), on67(), proxyPlan(""), "no answer: there is nothing for it to boot"},
		{"a URL that is too long", packet(discover, pcMAC, ovmf), on67(), proxyPlan(strings.Repeat("x", 255)), "the boot file's name has 255 bytes and DHCP carries 254; make the URL shorter"},
		{"a URL with a space", packet(discover, pcMAC, ovmf), on67(), proxyPlan("a b"), "not printable ASCII; escape them"},
		{"a boot server of IPv6", packet(discover, pcMAC, ovmf), on67(), Plan{Mode: Proxy, Boot: Boot{netip.MustParseAddr("fd77::1"), "x"}}, "the boot server fd77::1 has no IPv4 address"},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.packet, c.ingress, c.plan, c.want) })
	}
}

// check compares the answer to a packet with a dump or with what an error says.
func check(t *testing.T, packet []byte, in Ingress, plan Plan, want string) {
	t.Helper()
	before := slices.Clone(packet)
	p, to, err := Reply(mustClassify(t, packet, in), plan, edgeAddr)
	if !slices.Equal(before, packet) {
		t.Error("the packet was changed")
	}
	if err != nil {
		if !strings.Contains(err.Error(), lines(want)) {
			t.Errorf("got the error %v, want %s", err, want)
		}
		if errors.Is(err, ErrSilent) != strings.HasPrefix(want, "no answer") {
			t.Errorf("%v: got ErrSilent %v", err, errors.Is(err, ErrSilent))
		}
		return
	}
	parsed, err := dhcpv4.FromBytes(p.ToBytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines(want), dump(parsed, to)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSizeIsThatOfTheBytes(t *testing.T) {
	for n := range 60 {
		p := &dhcpv4.DHCPv4{Options: dhcpv4.Options{optMessage: {2}}}
		for i := range n {
			p.Options[uint8(100+i)] = make([]byte, i*7%256)
		}
		if got, want := size(p), len(p.ToBytes()); got != want {
			t.Errorf("%d options: %d bytes, want %d", n+1, got, want)
		}
	}
}
