package lab

import (
	"encoding/binary"
	"net/netip"
)

// Packet is a packet of UDP or TCP over IPv4, as it passes on a cable.
type Packet struct {
	ToMachine bool
	TCP       bool // otherwise UDP
	From, To  netip.AddrPort
	Payload   []byte // of UDP or TCP; of the frame's memory, which is used again
}

const (
	ethernetHeader = 14
	etherIPv4      = 0x0800
	leastIPv4      = 20
	protocolTCP    = 6
	protocolUDP    = 17
	headerUDP      = 8
	leastTCP       = 20
)

// ParsePacket reads an Ethernet frame. It says false of all that is no whole packet of UDP or TCP over IPv4.
func ParsePacket(frame []byte) (p Packet, ok bool) {
	if len(frame) < ethernetHeader+leastIPv4 || binary.BigEndian.Uint16(frame[12:]) != etherIPv4 {
		return Packet{}, false
	}
	b := frame[ethernetHeader:]
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	fragment := binary.BigEndian.Uint16(b[6:])&0x3fff != 0 // more follow, or some came before
	if b[0]>>4 != 4 || header < leastIPv4 || total < header+headerUDP || total > len(b) || fragment {
		return Packet{}, false
	}
	from, to := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	protocol, b := b[9], b[header:total]
	p.From = netip.AddrPortFrom(from, binary.BigEndian.Uint16(b))
	p.To = netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:]))
	switch protocol {
	case protocolUDP:
		p.Payload = b[headerUDP:]
	case protocolTCP:
		if len(b) < leastTCP {
			return Packet{}, false
		}
		offset := int(b[12]>>4) * 4
		if offset < leastTCP || offset > len(b) {
			return Packet{}, false
		}
		p.TCP, p.Payload = true, b[offset:]
	default:
		return Packet{}, false
	}
	return p, true
}
