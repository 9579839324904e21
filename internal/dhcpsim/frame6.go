package dhcpsim

import (
	"encoding/binary"
	"net/netip"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

var allServers = netip.MustParseAddr("ff02::1:2") // and relay agents (RFC 8415 §7.1)

const (
	typeIPv6     = 0x86dd
	nextUDP      = 17
	nextICMP     = 58
	header6      = 40 // bytes
	solicitation = 135
	advertises   = 136
	ourPort      = 546
	theirPort    = 547
)

// packet6 is a frame with a packet of IPv6. The checksum is put into body at sum.
func packet6(toMAC, fromMAC history.MAC, to, from netip.Addr, next, hops byte, body []byte, sum int) []byte {
	b := link(toMAC, fromMAC, typeIPv6)
	ip := make([]byte, 8, header6)
	ip[0], ip[6], ip[7] = 0x60, next, hops
	binary.BigEndian.PutUint16(ip[4:], uint16(len(body)))
	ip = append(append(ip, from.AsSlice()...), to.AsSlice()...)
	c := checksum(ip[8:], body, []byte{0, next, byte(len(body) >> 8), byte(len(body))})
	if c == 0 && next == nextUDP {
		c = 0xffff // RFC 8200 §8.1
	}
	binary.BigEndian.PutUint16(body[sum:], c)
	return append(append(b, ip...), body...)
}

// datagram6 is what a client sends to all servers on its segment.
func datagram6(mac history.MAC, from netip.Addr, payload []byte) []byte {
	udp := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(udp, ourPort)
	binary.BigEndian.PutUint16(udp[2:], theirPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(payload)))
	return packet6(history.MAC{0x33, 0x33, 0, 1, 0, 2}, mac, allServers, from, nextUDP, 1, append(udp, payload...), 6)
}

// neighbour is an answer to who asks for an address (RFC 4861 §4.4).
func neighbour(to history.MAC, toAddr netip.Addr, mac history.MAC, address netip.Addr) []byte {
	b := append([]byte{advertises, 0, 0, 0, 0x60, 0, 0, 0}, address.AsSlice()...)
	b = append(append(b, 2, 1), mac[:]...)
	return packet6(to, mac, toAddr, address, nextICMP, 255, b, 2)
}

// unframe6 reads a frame of IPv6; false when it is nothing for DHCP clients.
func unframe6(b []byte) (h heard, ok bool) {
	if len(b) < ethernet+header6+8 || binary.BigEndian.Uint16(b[12:]) != typeIPv6 {
		return h, false
	}
	h.mac = history.MAC(b[6:12])
	h.from = netip.AddrFrom16([16]byte(b[ethernet+8:]))
	next, body := b[ethernet+6], b[ethernet+header6:]
	switch {
	case next == nextUDP && binary.BigEndian.Uint16(body[2:]) == ourPort:
		end := int(binary.BigEndian.Uint16(body[4:]))
		if end < 8 || end > len(body) {
			return h, false
		}
		h.payload = body[8:end]
		return h, true
	case next == nextICMP && body[0] == solicitation && len(body) >= 24:
		h.who = netip.AddrFrom16([16]byte(body[8:]))
		return h, true
	}
	return h, false
}
