package dhcp6

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// Messages and options by their numbers (RFC 8415 §7.3, §21).
const (
	solicit, advertise, request, confirm, renew, rebind, reply, release, decline, information = 1, 2, 3, 4, 5, 6, 7, 8, 9, 11

	clientID, serverID, iaNA, iaTA, iaAddr, oro, elapsed, relayMsg, rapid = 1, 2, 3, 4, 5, 6, 8, 9, 14
	userClass, vendorClass, interfaceID, iaPD, remoteID, archType         = 15, 16, 18, 25, 37, 61
	hardware, relayPort                                                   = 79, 135

	pcMAC = "52:54:00:77:00:01"
)

var (
	self   = ServerDUID("http://[fd77::1]:7380")
	nobody = ServerDUID("another edge")
	near   = netip.MustParseAddr("fe80::5054:ff:fe77:1") // of pcMAC
	secret = netip.MustParseAddr("fe80::8cf2:1111:2222:3333")
	everyS = netip.MustParseAddr("ff02::1:2")
	ours   = netip.MustParseAddr("fd77::21")
)

// field is an option, or several.
type field []byte

// packet builds a message by hand, so that the codec is not tested with itself alone.
func packet(message byte, fields ...field) []byte {
	return append([]byte{message, 0xca, 0xfe, 0xba}, slices.Concat(fields...)...)
}

func opt(code uint16, value ...byte) field {
	b := binary.BigEndian.AppendUint16(nil, code)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
}

// str is a string with its length, as most options have it.
func str(code uint16, head []byte, s string) field {
	return opt(code, append(append(slices.Clone(head), 0, byte(len(s))), s...)...)
}

func hexa(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// na is an IA_NA, or with another code another one, with addresses.
func na(code uint16, id byte, addrs ...string) field {
	value := []byte{0, 0, 0, id}
	if code != iaTA {
		value = append(value, make([]byte, 8)...)
	}
	for _, a := range addrs {
		value = append(value, opt(iaAddr, append(netip.MustParseAddr(a).AsSlice(), make([]byte, 8)...)...)...)
	}
	return opt(code, value...)
}

// forward is a relay's packet.
func forward(hops byte, link, peer string, inner []byte, fields ...field) []byte {
	b := append([]byte{12, hops}, netip.MustParseAddr(link).AsSlice()...)
	b = append(b, netip.MustParseAddr(peer).AsSlice()...)
	return append(append(b, slices.Concat(fields...)...), opt(relayMsg, inner...)...)
}

var (
	me    = opt(clientID, hexa("0003 0001 525400770001")...)
	toUs  = opt(serverID, self...)
	toAll = Ingress{Interface: "eth0", Index: 2, From: netip.AddrPortFrom(near.WithZone("eth0"), clientPort), To: everyS}

	// What they send, as seen on the wire.
	ovmf     = slices.Concat(opt(oro, 0, 59, 0, 60), opt(62, 1, 3, 0), opt(archType, 0, 7), str(vendorClass, hexa("00000157"), "PXEClient:Arch:00007:UNDI:003000"))
	ovmfHTTP = slices.Concat(opt(oro, 0, 59, 0, 60, 0, 23, 0, 16), opt(62, 1, 3, 0), opt(archType, 0, 16), str(vendorClass, hexa("00000157"), "HTTPClient:Arch:00016:UNDI:003000"))
	ipxeROM  = slices.Concat(opt(oro, 0, 23, 0, 24), str(userClass, nil, "iPXE"), opt(elapsed, 0, 0))
)

// from is an ingress with another address of the client.
func from(a string) Ingress {
	in := toAll
	in.From = netip.AddrPortFrom(netip.MustParseAddr(a), clientPort)
	return in
}

// to is an ingress of a packet that was sent to one address.
func to(a string) Ingress {
	in := toAll
	in.To = netip.MustParseAddr(a)
	return in
}

func mustClassify(t *testing.T, packet []byte, in Ingress) Client {
	t.Helper()
	c, err := Classify(packet, in)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dump writes an answer so that a test can say what it wants: each option with its number, IAs with what is in them.
func dump(t *testing.T, a Answer) string {
	t.Helper()
	return fmt.Sprintf("to %s: ", a.To) + dumpPacket(t, a.Packet)
}

func dumpPacket(t *testing.T, b []byte) string {
	t.Helper()
	if b[0] == 13 {
		out := fmt.Sprintf("RELAY-REPL %d %s %s", b[1], netip.AddrFrom16([16]byte(b[2:])), netip.AddrFrom16([16]byte(b[18:])))
		return out + dumpOptions(t, b[34:], func(code dhcpv6.OptionCode, value []byte) string {
			if code == relayMsg {
				return "{" + dumpPacket(t, value) + "}"
			}
			return ""
		})
	}
	name := map[byte]string{advertise: "ADVERTISE", reply: "REPLY"}[b[0]]
	if a := b[1:4]; string(a) != "\xca\xfe\xba" {
		name += fmt.Sprintf(" of transaction %x", a)
	}
	return name + dumpOptions(t, b[4:], func(code dhcpv6.OptionCode, value []byte) string {
		switch code {
		case clientID:
			return "-"
		case serverID:
			if string(value) != string(self) {
				return "of another server"
			}
			return "-"
		}
		return ""
	})
}

func dumpOptions(t *testing.T, b []byte, special func(code dhcpv6.OptionCode, value []byte) string) string {
	t.Helper()
	out := ""
	if err := each(b, func(code dhcpv6.OptionCode, value []byte) {
		text := special(code, value)
		inner := func(head int) string {
			return strings.TrimSpace(dumpOptions(t, value[head:], func(dhcpv6.OptionCode, []byte) string { return "" }))
		}
		switch {
		case text == "-":
			return
		case text != "":
		case code == iaNA, code == iaPD:
			text = fmt.Sprintf("%d/%d/%d[%s]", value[3], binary.BigEndian.Uint32(value[4:]), binary.BigEndian.Uint32(value[8:]), inner(12))
		case code == iaTA:
			text = fmt.Sprintf("%d[%s]", value[3], inner(4))
		case code == iaAddr:
			text = fmt.Sprintf("%s/%d/%d", netip.AddrFrom16([16]byte(value)), binary.BigEndian.Uint32(value[16:]), binary.BigEndian.Uint32(value[20:]))
		case code == 13:
			text = fmt.Sprint(binary.BigEndian.Uint16(value))
		case code == 59:
			text = string(value)
		default:
			text = hex.EncodeToString(value)
		}
		out += strings.TrimRight(fmt.Sprintf(" %d:%s", code, text), ":")
	}); err != nil {
		t.Errorf("%x: %v", b, err)
	}
	return out
}

// codec reads an answer with the codec of others.
func codec(t *testing.T, b []byte) dhcpv6.DHCPv6 {
	t.Helper()
	m, err := dhcpv6.FromBytes(b)
	if err != nil {
		t.Errorf("the codec does not take %x: %v", b, err)
	}
	return m
}
