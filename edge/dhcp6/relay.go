package dhcp6

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

const (
	relayHeader  = 34 // bytes: type, hops, link, peer
	clientHeader = 4  // bytes: type, transaction
	maxRelays    = 8  // RFC 8415 §7.6, HOP_COUNT_LIMIT
)

// Options of relays.
const (
	optRelayMessage, optInterfaceID, optRemoteID      = dhcpv6.OptionRelayMsg, dhcpv6.OptionInterfaceID, dhcpv6.OptionRemoteID
	optHardware, optRelayPort                         = dhcpv6.OptionClientLinkLayerAddr, dhcpv6.OptionRelayPort
	msgRelayForward, msgRelayReply               byte = 12, 13
)

// relay is one relay that a packet came through, the one that is nearest to us first.
type relay struct {
	hops       byte
	link, peer netip.Addr
	kept       []dhcpv6.Option // what it wants back
	port       bool            // it listens on another port than 547 (RFC 8357)
}

// unwrap takes a client's packet out of those of relays. seen is the client's hardware address as the relay beside it saw it.
func unwrap(packet []byte) (inner []byte, relays []relay, seen net.HardwareAddr, err error) {
	for len(packet) > 0 && packet[0] == msgRelayForward {
		if len(packet) < relayHeader || len(relays) == maxRelays {
			return nil, nil, nil, fmt.Errorf("a relay's packet of %d bytes within %d others: it is too short, or relays go in a circle", len(packet), len(relays))
		}
		r := relay{hops: packet[1], link: netip.AddrFrom16([16]byte(packet[2:18])), peer: netip.AddrFrom16([16]byte(packet[18:34]))}
		var inside []byte
		seen = nil // only of the last one
		err := each(packet[relayHeader:], func(code dhcpv6.OptionCode, value []byte) {
			switch code {
			case optRelayMessage:
				inside = value
			case optInterfaceID, optRemoteID, optRelayPort:
				r.port = r.port || code == optRelayPort
				r.kept = append(r.kept, raw(code, value))
			case optHardware:
				if len(value) == 8 && binary.BigEndian.Uint16(value) == ethernet {
					seen = station(value[2:])
				}
			}
		})
		if err != nil {
			return nil, nil, nil, err
		}
		if inside == nil {
			return nil, nil, nil, fmt.Errorf("a relay's packet has no message in it")
		}
		relays, packet = append(relays, r), inside
	}
	return packet, relays, seen, nil
}

// wrap packs an answer for the relays that the question came through (RFC 8415 §19.3).
func wrap(message []byte, relays []relay) []byte {
	for i := len(relays) - 1; i >= 0; i-- {
		r := relays[i]
		link, peer := r.link.As16(), r.peer.As16()
		b := append([]byte{msgRelayReply, r.hops}, link[:]...)
		b = append(b, peer[:]...)
		b = append(b, dhcpv6.Options(r.kept).ToBytes()...)
		message = append(b, dhcpv6.Options{raw(optRelayMessage, message)}.ToBytes()...)
	}
	return message
}

// linkOf is the link that the client is on, as the relay nearest to it says. Relays in a switch do not know (RFC 6221 §5.1), and
// then the next one's word counts.
func linkOf(relays []relay) netip.Addr {
	for i := len(relays) - 1; i >= 0; i-- {
		if a := relays[i].link; !a.IsUnspecified() && !a.IsLinkLocalUnicast() {
			return a
		}
	}
	return netip.Addr{}
}

// each calls f for the options in b. The values are parts of b.
func each(b []byte, f func(code dhcpv6.OptionCode, value []byte)) error {
	for len(b) > 0 {
		if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint16(b[2:])) {
			return fmt.Errorf("an option ends behind the packet's end")
		}
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		f(dhcpv6.OptionCode(binary.BigEndian.Uint16(b)), b[4:n:n])
		b = b[n:]
	}
	return nil
}

// raw is an option as bytes.
func raw(code dhcpv6.OptionCode, value []byte) dhcpv6.Option {
	return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: value}
}
