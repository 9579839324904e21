package dhcpsim

import (
	"encoding/binary"
	"net/netip"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

var (
	everybody = history.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	everyone  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	nobody    = netip.AddrFrom4([4]byte{})
)

const (
	ethernet = 14 // bytes
	typeIP   = 0x0800
	typeARP  = 0x0806
)

func link(to, from history.MAC, kind uint16) []byte {
	b := append(append(make([]byte, 0, 400), to[:]...), from[:]...)
	return binary.BigEndian.AppendUint16(b, kind)
}

// datagram is a frame with UDP from port 68 to port 67. It has no UDP checksum, which IPv4 allows.
func datagram(toMAC, fromMAC history.MAC, to, from netip.Addr, payload []byte) []byte {
	b := link(toMAC, fromMAC, typeIP)
	ip := make([]byte, 28)
	ip[0], ip[6], ip[8], ip[9] = 0x45, 0x40, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(payload)))
	copy(ip[12:], from.AsSlice())
	copy(ip[16:], to.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:20]))
	binary.BigEndian.PutUint16(ip[20:], 68)
	binary.BigEndian.PutUint16(ip[22:], 67)
	binary.BigEndian.PutUint16(ip[24:], uint16(8+len(payload)))
	return append(append(b, ip...), payload...)
}

// checksum is that of RFC 1071 over parts. Only the second may have an odd length, and what is behind it is added as it is.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, p := range parts {
		for ; len(p) >= 2; p = p[2:] {
			sum += uint32(binary.BigEndian.Uint16(p))
		}
		if len(p) == 1 {
			sum += uint32(p[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// arp is an answer to who asks for an address.
func arp(to history.MAC, toAddr netip.Addr, mac history.MAC, address netip.Addr) []byte {
	b := link(to, mac, typeARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 2)
	b = append(append(b, mac[:]...), address.AsSlice()...)
	return append(append(b, to[:]...), toAddr.AsSlice()...)
}

// heard is what came in a frame: DHCP, or the question who has an address.
type heard struct {
	payload []byte
	from    netip.Addr
	mac     history.MAC // of the sender
	who     netip.Addr
}

// unframe reads a frame; false when it is nothing for DHCP clients.
func unframe(b []byte) (h heard, ok bool) {
	if len(b) < ethernet+28 {
		return h, false
	}
	h.mac = history.MAC(b[6:12])
	switch kind, b := binary.BigEndian.Uint16(b[12:]), b[ethernet:]; kind {
	case typeARP:
		if binary.BigEndian.Uint16(b[6:]) != 1 {
			return h, false
		}
		h.from, h.who = netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
		return h, true
	case typeIP:
		long := int(b[0]&15) * 4
		if b[0]>>4 != 4 || b[9] != 17 || len(b) < long+8 || binary.BigEndian.Uint16(b[long+2:]) != 68 {
			return h, false
		}
		h.from, h.payload = netip.AddrFrom4([4]byte(b[12:16])), b[long+8:]
		return h, true
	}
	return h, false
}
