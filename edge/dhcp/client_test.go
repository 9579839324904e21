package dhcp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	flexboot := all(str(optClass, "PXEClient:Arch:00007:UNDI:003000"), opt(optArch, 0, 7), str(optUserClass, "FlexBoot"), opt(optIPXE, 0x13, 1, 1, 0x14, 1, 1))
	for _, c := range []struct {
		name   string
		mac    string
		fields []field
		kind   Kind
		arch   string // and "http"
		ipxe   Features
	}{
		{"OVMF", pcMAC, []field{ovmf}, UEFI, "x86-64", Features{}},
		{"OVMF, HTTP boot", pcMAC, []field{ovmfHTTP}, UEFIHTTP, "x86-64 http", Features{}},
		{"arm64 firmware", pcMAC, []field{aavmf}, UEFI, "arm64", Features{}},
		{"a BIOS ROM", pcMAC, []field{biosROM}, BIOS, "x86-64", Features{}},
		{"a ROM that says PXEClient and no more (ipxe#1527)", pcMAC, []field{str(optClass, "PXEClient")}, BIOS, "", Features{}},
		{"UEFI with a short class", pcMAC, []field{str(optClass, "PXEClient"), opt(optArch, 0, 9)}, UEFI, "x86-64", Features{}},
		{"the first known of several architectures", pcMAC, []field{str(optClass, "PXEClient"), opt(optArch, 0, 99, 0, 11, 0, 7)}, UEFI, "arm64", Features{}},
		{"half an architecture", pcMAC, []field{str(optClass, "PXEClient"), opt(optArch, 7)}, BIOS, "", Features{}},
		{"BIOS HTTP", pcMAC, []field{str(optClass, "HTTPClient:Arch:00020"), opt(optArch, 0, 20)}, UEFIHTTP, "x86-64 http", Features{}},
		{"iPXE's own ROM", pcMAC, []field{ipxeROM}, IPXE, "x86-64", Features{HTTP: true, TFTP: true, Version: "1.21.1"}},
		{"iPXE by its user class as RFC 3004 has it (BMO#446)", pcMAC, []field{ovmf, str(optUserClass, "\x04iPXE")}, IPXE, "x86-64", Features{}},
		{"iPXE by one of its user classes", pcMAC, []field{ovmf, str(optUserClass, "\x02ab\x04iPXE")}, IPXE, "x86-64", Features{}},
		{"iPXE of a vendor, by option 175 (warewulf3#104)", pcMAC, []field{flexboot}, IPXE, "x86-64", Features{HTTP: true, HTTPS: true}},
		{"iPXE with an empty option 175", pcMAC, []field{ovmf, opt(optIPXE)}, IPXE, "x86-64", Features{}},
		{"iPXE with a broken option 175", pcMAC, []field{ovmf, opt(optIPXE, 0x13, 9, 1)}, IPXE, "x86-64", Features{}},
		{"a Pi that claims to be a BIOS", piMAC, []field{biosROM}, Pi, "x86-64", Features{}},
		{"a Pi by its UUID", pcMAC, []field{piROM}, Pi, "x86-64", Features{}},
		{"a Pi by its architecture", pcMAC, []field{str(optClass, "PXEClient:Arch:00041"), opt(optArch, 0, 41)}, Pi, "raspberry-pi", Features{}},
		{"UEFI firmware on a Pi", piMAC, []field{aavmf}, UEFI, "arm64", Features{}},
		{"iPXE on a Pi", piMAC, []field{aavmf, str(optUserClass, "iPXE")}, IPXE, "arm64", Features{}},
		{"Linux on a Pi", piMAC, []field{str(optClass, "udhcp 1.35.0")}, Plain, "", Features{}},
		{"U-Boot", pcMAC, []field{str(optClass, "U-Boot.armv8"), opt(optArch, 0, 22)}, Plain, "arm64-uboot", Features{}},
		{"nothing but a DISCOVER", pcMAC, nil, Plain, "", Features{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mustClassify(t, packet(discover, c.mac, c.fields...), on67())
			arch := got.Arch.Name
			if got.Arch.HTTP {
				arch += " http"
			}
			if got.Kind != c.kind || arch != c.arch || got.IPXE != c.ipxe || got.MAC.String() != c.mac {
				t.Errorf("got %s %q %+v of %s, want %s %q %+v", got.Kind, arch, got.IPXE, got.MAC, c.kind, c.arch, c.ipxe)
			}
		})
	}
}

func TestClassifyReadsAllFields(t *testing.T) {
	in := on4011()
	c := mustClassify(t, packet(request, pcMAC, ovmf, at(12, "10.77.0.50"), at(24, "10.77.9.1"), addr(optRequested, "10.77.0.51"), addr(optServerID, "10.77.0.3"),
		opt(optClientID, 1, 2, 3), str(optHostname, "pc\nx\x00"), opt(optWants, 1, 3, 121), opt(optRelayInfo, 1, 1, 9), secs(12), str(optUserClass, "\x01a\x01b")), in)
	if c.Address.String() != "10.77.0.50" || c.Gateway.String() != "10.77.9.1" || c.Requested.String() != "10.77.0.51" || c.ServerID.String() != "10.77.0.3" {
		t.Errorf("got the addresses %s %s %s %s", c.Address, c.Gateway, c.Requested, c.ServerID)
	}
	if c.Hostname != "pc?x" || c.Secs != 12 || c.MaxSize != 1472 || c.XID() != "cafebabe" || c.Ingress != in || c.Broadcast() || !slices.Equal(c.Classes, []string{"a", "b"}) {
		t.Errorf("got %+v", c)
	}
	if want := "00112233-4455-6677-8899-aabbccddeeff"; c.SystemUUID() != want {
		t.Errorf("got the UUID %s, want %s", c.SystemUUID(), want)
	}
	if string(c.ClientID) != "\x01\x02\x03" || string(c.Wants) != "\x01\x03\x79" || string(c.RelayInfo) != "\x01\x01\x09" {
		t.Errorf("got %x %x %x", c.ClientID, c.Wants, c.RelayInfo)
	}
}

func TestWaited(t *testing.T) {
	for _, c := range []struct {
		kind       field
		secs, want uint16
	}{
		{ovmf, 0, 0}, {ovmf, 4, 4}, {ovmf, 12, 12},
		{ipxeROM, 0, 0}, {ipxeROM, 4, 0}, {ipxeROM, 2<<2 | 3, 1}, {ipxeROM, 3 << 2, 3}, {ipxeROM, 4 << 2, 7}, {ipxeROM, 65535, 511},
	} {
		got := mustClassify(t, packet(discover, pcMAC, c.kind, secs(c.secs)), on67())
		if got.Waited() != c.want {
			t.Errorf("%s, secs %d: got %d, want %d", got.Kind, c.secs, got.Waited(), c.want)
		}
	}
}

func TestUUIDsThatAreNone(t *testing.T) {
	for _, value := range []string{"", "\x00", strings.Repeat("\x00", 17), "\x00" + strings.Repeat("\xff", 16), "\x01" + string(uuid[1:])} {
		if got := (Client{UUID: []byte(value)}).SystemUUID(); got != "" {
			t.Errorf("%x: got %s", value, got)
		}
	}
}

func TestPacketsThatAreRefused(t *testing.T) {
	answer := packet(discover, pcMAC)
	answer[0] = 2
	noMAC := packet(discover, pcMAC)
	noMAC[2] = 0
	hops := packet(discover, pcMAC)
	hops[3] = 17
	long := packet(discover, pcMAC)
	long[2] = 255
	bootp := packet(discover, pcMAC)
	bootp[240] = 255
	for _, c := range []struct {
		name   string
		packet []byte
		says   string
	}{
		{"nothing", nil, "is no DHCP"},
		{"a short packet", answer[:200], "is no DHCP"},
		{"an answer", answer, "no request but an answer"},
		{"no hardware address", noMAC, "hardware address of 0 bytes"},
		{"relays in a circle", hops, "17 hops"},
		{"a hardware address that is longer than its field", long, "255 bytes"},
		{"BOOTP without options", bootp, "no request of a DHCP client"},
		{"an OFFER as a request", packet(offer, pcMAC), "message type 2"},
		{"a relay that is everybody", packet(discover, pcMAC, at(24, "255.255.255.255")), "no host can have: 255.255.255.255"},
		{"an address on our own loopback", packet(inform, pcMAC, at(12, "127.0.0.1")), "no host can have: 127.0.0.1"},
		{"a multicast server", packet(request, pcMAC, addr(optServerID, "224.0.0.1")), "no host can have: 224.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Classify(c.packet, on67())
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestArchOf(t *testing.T) {
	for code := range uint16(42) {
		if a, ok := ArchOf(code); !ok || a.Code != code || a.Name == "" || a.BIOS && a.UEFI {
			t.Errorf("%d: got %+v %v", code, a, ok)
		}
	}
	if a, ok := ArchOf(42); ok {
		t.Errorf("42: got %+v", a)
	}
	for code, want := range map[uint16]string{0: "amd64", 6: "386", 7: "amd64", 9: "amd64", 10: "arm", 11: "arm64", 16: "amd64", 19: "arm64", 27: "riscv64", 39: "loong64"} {
		if a, _ := ArchOf(code); a.GOARCH != want {
			t.Errorf("%d: got %s, want %s", code, a.GOARCH, want)
		}
	}
	for _, code := range []uint16{15, 16, 17, 18, 19, 20, 23, 24, 26, 28, 30, 38, 40} {
		if a, _ := ArchOf(code); !a.HTTP {
			t.Errorf("%d: got no HTTP", code)
		}
	}
}

func FuzzClassifyAndReply(f *testing.F) {
	for _, fields := range []field{ovmf, ovmfHTTP, aavmf, biosROM, ipxeROM, piROM} {
		for _, message := range []byte{discover, request, inform} {
			f.Add(packet(message, pcMAC, fields), true)
		}
	}
	self := netip.MustParseAddr("10.77.0.3")
	f.Fuzz(func(t *testing.T, b []byte, port67 bool) {
		in := on4011()
		if port67 {
			in = on67()
		}
		c, err := Classify(b, in)
		if err != nil {
			return
		}
		_, _, _ = c.SystemUUID(), c.Kind.String(), c.XID()
		for _, plan := range []Plan{proxyPlan("snponly.efi"), fullPlan("http://10.77.0.3/" + strings.Repeat("x", 200)), {}} {
			p, to, err := Reply(c, plan, self)
			if err != nil {
				continue
			}
			wire := p.ToBytes()
			if len(wire) > mostSize-ipHeaders || !to.Addr.IsValid() || to.Addr.Port() == 0 {
				t.Errorf("got %d bytes to %s", len(wire), to.Addr)
			}
			again, err := Classify(append([]byte{1}, wire[1:]...), in)
			if err == nil {
				t.Errorf("an answer reads as the request %+v", again)
			}
		}
	})
}
