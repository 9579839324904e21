package dhcp6

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
)

// Types of DUIDs (RFC 8415 §11).
const (
	duidLLT  = 1
	duidLL   = 3
	duidUUID = 4
)

const (
	ethernet    = 1   // hardware type
	longestDUID = 130 // bytes: RFC 8415 §11.1
)

// DUID is who a client or a server says it is. Only DUIDs are compared, never what is in them.
type DUID []byte

// String shows it as most programs do.
func (d DUID) String() string { return hex.EncodeToString(d) }

// ServerDUID is the DUID of an edge, made of its name, so that it stays the same without being kept anywhere.
func ServerDUID(name string) DUID {
	sum := sha256.Sum256([]byte("kiln edge\x00" + name))
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8 (RFC 9562 §5.8)
	return append(binary.BigEndian.AppendUint16(nil, duidUUID), id...)
}

// hardware is the Ethernet address in a DUID of type LL or LLT; nil when there is none.
func (d DUID) hardware() net.HardwareAddr {
	if len(d) < 4 || binary.BigEndian.Uint16(d[2:]) != ethernet {
		return nil
	}
	switch binary.BigEndian.Uint16(d) {
	case duidLL:
		return station(d[4:])
	case duidLLT:
		if len(d) >= 8 {
			return station(d[8:])
		}
	}
	return nil
}

// station is b if one Ethernet card can have that address.
func station(b []byte) net.HardwareAddr {
	if len(b) != 6 || b[0]&1 != 0 || bytes.Count(b, []byte{0}) == 6 {
		return nil
	}
	return bytes.Clone(b)
}

// uuids are the machine's UUIDs by a DUID of type UUID (RFC 6355): as they are there, and with the first three groups turned
// round, since EDK2 copies them from SMBIOS, where they are little endian. All zeros or ones are no UUID.
func (d DUID) uuids() []string {
	if len(d) != 18 || binary.BigEndian.Uint16(d) != duidUUID {
		return nil
	}
	b := d[2:]
	if bytes.Count(b, b[:1]) == 16 && (b[0] == 0 || b[0] == 0xff) {
		return nil
	}
	straight := fmt.Sprintf("%x-%x-%x-%x-%x", []byte(b[:4]), []byte(b[4:6]), []byte(b[6:8]), []byte(b[8:10]), []byte(b[10:]))
	turned := fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), []byte(b[8:10]), []byte(b[10:]))
	return []string{straight, turned}
}

// embedded is the Ethernet address that a link-local address was made of (RFC 4291 appendix A); nil when it was not.
func embedded(a netip.Addr) net.HardwareAddr {
	if !a.Is6() || !a.IsLinkLocalUnicast() {
		return nil
	}
	b := a.As16()
	if b[11] != 0xff || b[12] != 0xfe {
		return nil
	}
	return station([]byte{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]})
}

// identify finds the hardware address: what the relay beside the client saw (RFC 6939) before what the client's own address
// was made of, and that before what it says. A DUID may be of another card, or of the machine whose disk was copied, and so
// counts only when there is nothing better.
func (c *Client) identify(seen net.HardwareAddr) {
	switch own := embedded(c.Peer); {
	case seen != nil:
		c.MAC = seen
	case own != nil:
		c.MAC = own
	default:
		c.MAC = c.DUID.hardware()
	}
	c.UUIDs = c.DUID.uuids()
}
