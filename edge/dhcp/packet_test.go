package dhcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	discover, offer, request, decline, release, inform = 1, 2, 3, 4, 7, 8

	pcMAC = "52:54:00:77:00:01"
	piMAC = "dc:a6:32:01:02:03"
)

var uuid = append([]byte{0}, 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff)

// field changes a packet.
type field func([]byte) []byte

// packet builds a request by hand, so that the codec is not tested with itself alone.
func packet(message byte, mac string, fields ...field) []byte {
	b := make([]byte, 240)
	b[0], b[1], b[2] = 1, 1, 6
	copy(b[4:], "\xca\xfe\xba\xbe")
	for i, part := range strings.Split(mac, ":") {
		fmt.Sscanf(part, "%x", &b[28+i])
	}
	copy(b[236:], "\x63\x82\x53\x63")
	b = append(b, optMessage, 1, message)
	for _, f := range fields {
		b = f(b)
	}
	return append(b, 255)
}

func opt(code byte, value ...byte) field {
	return func(b []byte) []byte { return append(append(b, code, byte(len(value))), value...) }
}

func str(code byte, value string) field { return opt(code, []byte(value)...) }

func addr(code byte, a string) field { return opt(code, netip.MustParseAddr(a).AsSlice()...) }

// at writes an address into the header: 12 ciaddr, 24 giaddr.
func at(offset int, a string) field {
	return func(b []byte) []byte {
		copy(b[offset:], netip.MustParseAddr(a).AsSlice())
		return b
	}
}

func wantsBroadcast(b []byte) []byte { b[10] |= 0x80; return b }

func xid(n int) field {
	return func(b []byte) []byte { binary.BigEndian.PutUint32(b[4:], uint32(n)); return b }
}

func secs(n uint16) field {
	return func(b []byte) []byte { binary.BigEndian.PutUint16(b[8:], n); return b }
}

func all(fields ...field) field {
	return func(b []byte) []byte {
		for _, f := range fields {
			b = f(b)
		}
		return b
	}
}

// What firmware sends, as it was seen on the wire.
var (
	ovmf     = all(str(optClass, "PXEClient:Arch:00007:UNDI:003000"), opt(optArch, 0, 7), opt(94, 1, 3, 0), opt(optUUID, uuid...), opt(optMaxSize, 0x05, 0xc0))
	ovmfHTTP = all(str(optClass, "HTTPClient:Arch:00016:UNDI:003000"), opt(optArch, 0, 16), opt(94, 1, 3, 0), opt(optUUID, uuid...), opt(optMaxSize, 0x05, 0xc0))
	aavmf    = all(str(optClass, "PXEClient:Arch:00011:UNDI:003000"), opt(optArch, 0, 11), opt(optUUID, uuid...))
	biosROM  = all(str(optClass, "PXEClient:Arch:00000:UNDI:002001"), opt(optArch, 0, 0), opt(94, 1, 2, 1), opt(optUUID, uuid...), wantsBroadcast)
	ipxeROM  = all(str(optClass, "PXEClient:Arch:00000:UNDI:002001"), opt(optArch, 0, 0), str(optUserClass, "iPXE"),
		opt(optIPXE, 0xb1, 5, 1, 0x1a, 0xf4, 0x10, 0, 0x13, 1, 1, 0x15, 1, 1, 0x24, 1, 0, 0xeb, 3, 1, 21, 1))
	piROM = all(str(optClass, "PXEClient:Arch:00000:UNDI:002001"), opt(optArch, 0, 0), opt(optUUID, append([]byte("\x00RPi4"), uuid[5:]...)...))
)

// dump writes out all of an answer that is not empty.
func dump(p *dhcpv4.DHCPv4, to Destination) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s to %s", p.MessageType(), to.Addr)
	if to.MAC != nil {
		fmt.Fprintf(&out, " at %x", to.MAC)
	}
	if p.OpCode != dhcpv4.OpcodeBootReply || p.HWType != 1 || p.TransactionID != [4]byte{0xca, 0xfe, 0xba, 0xbe} {
		fmt.Fprintf(&out, " WRONG HEADER %v %v %v", p.OpCode, p.HWType, p.TransactionID)
	}
	for _, f := range []struct{ name, value string }{{"yiaddr", p.YourIPAddr.String()}, {"ciaddr", p.ClientIPAddr.String()},
		{"siaddr", p.ServerIPAddr.String()}, {"giaddr", p.GatewayIPAddr.String()}, {"sname", p.ServerHostName}, {"file", p.BootFileName}} {
		if f.value != "" && f.value != "0.0.0.0" {
			fmt.Fprintf(&out, "\n%s %s", f.name, f.value)
		}
	}
	if p.Flags != 0 {
		fmt.Fprintf(&out, "\nflags %04x", p.Flags)
	}
	var codes []int
	for code := range p.Options {
		codes = append(codes, int(code))
	}
	slices.Sort(codes)
	for _, code := range codes {
		if code == optMessage {
			continue
		}
		value := p.Options[uint8(code)]
		if s := text(value); code != optServerID && len(value) > 2 && !strings.Contains(s, "?") && s == string(value) {
			fmt.Fprintf(&out, "\n%d %s", code, s)
		} else {
			fmt.Fprintf(&out, "\n%d %x", code, value)
		}
	}
	return out.String()
}

// lines makes the text of a dump out of a raw string that is indented.
func lines(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

func on67() Ingress {
	return Ingress{Interface: "eth0", Index: 2, Port: ServerPort, From: netip.MustParseAddrPort("0.0.0.0:68"), To: broadcast}
}

func on4011() Ingress {
	return Ingress{Interface: "eth0", Index: 2, Port: BootPort, From: netip.MustParseAddrPort("10.77.0.50:4011"), To: netip.MustParseAddr("10.77.0.3")}
}

func mustClassify(t testing.TB, b []byte, in Ingress) Client {
	t.Helper()
	c, err := Classify(b, in)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
