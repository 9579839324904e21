package dhcp

import (
	"encoding/binary"
	"net/netip"
)

const (
	ipHeader   = 20 // bytes, without options
	udpHeader  = 8
	timeToLive = 64
	protoUDP   = 17
)

// datagram is an IPv4 packet (RFC 791) with a UDP one (RFC 768), for clients that the kernel cannot send to because they
// have no address to ask the hardware address of.
func datagram(from, to netip.AddrPort, payload []byte) []byte {
	b := make([]byte, ipHeader+udpHeader, ipHeader+udpHeader+len(payload))
	src, dst := from.Addr().As4(), to.Addr().As4()
	b[0] = 4<<4 | ipHeader/4
	binary.BigEndian.PutUint16(b[2:], uint16(cap(b)))
	b[6] = 0x40 // not to be split, so that it needs no identification (RFC 6864)
	b[8], b[9] = timeToLive, protoUDP
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], ^sum(0, b[:ipHeader]))

	udp := b[ipHeader:]
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(udpHeader+len(payload)))
	b = append(b, payload...)
	pseudo := sum(protoUDP, b[12:20])
	pseudo = sum(pseudo, binary.BigEndian.AppendUint16(nil, uint16(udpHeader+len(payload))))
	check := ^sum(pseudo, b[ipHeader:])
	if check == 0 {
		check = 0xffff // zero says that there is none
	}
	binary.BigEndian.PutUint16(b[ipHeader+6:], check)
	return b
}

// sum is the ones' complement sum of RFC 1071 of b and what came before.
func sum(before uint16, b []byte) uint16 {
	total := uint32(before)
	for ; len(b) >= 2; b = b[2:] {
		total += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		total += uint32(b[0]) << 8
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
