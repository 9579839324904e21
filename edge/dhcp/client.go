package dhcp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Kind is what asks, as far as it matters for the answer.
type Kind int

// The kinds of clients.
const (
	Plain    Kind = iota // an operating system, or anything that says nothing of booting
	BIOS                 // PXE of a PC BIOS
	UEFI                 // PXE of UEFI firmware: its boot file comes by TFTP
	UEFIHTTP             // UEFI HTTP boot (also of the few BIOSes that do it)
	IPXE                 // iPXE, whatever firmware it runs on
	Pi                   // the boot ROM of a Raspberry Pi
)

// String names the kind for logs.
func (k Kind) String() string {
	return [...]string{"plain", "BIOS PXE", "UEFI PXE", "UEFI HTTP", "iPXE", "Raspberry Pi"}[k]
}

// Ports of ours.
const (
	ServerPort = 67
	BootPort   = 4011 // PXE specification 2.1 §2.2.5: where firmware asks a boot server once it has an address
	clientPort = 68
)

// Ingress says how a packet came.
type Ingress struct {
	Interface string
	Index     int // of the interface
	Port      int // of ours: 67 or 4011
	From      netip.AddrPort
	To        netip.Addr // as in the packet: often 255.255.255.255; not valid when it is not known
}

// Features of an iPXE, from option 175. An iPXE that does not tell them has none.
type Features struct {
	HTTP, HTTPS, TFTP, EFI, Menu bool
	Version                      string // as 1.21.1; empty when it does not say
}

// Client is everything of a packet that matters.
type Client struct {
	Kind    Kind
	Message dhcpv4.MessageType
	MAC     net.HardwareAddr
	UUID    []byte   // option 97 as it came: a type, which is 0, and 16 bytes; empty with some ROMs
	Archs   []uint16 // option 93
	Arch    Arch     // the first of Archs that is known; its Name is empty when there is none
	Class   string   // option 60
	Classes []string // user classes: option 77
	IPXE    Features

	ClientID  []byte     // option 61
	Hostname  string     // option 12
	FQDN      FQDN       // option 81
	Wants     []byte     // codes of options: option 55
	MaxSize   int        // bytes of a packet that the client takes: option 57; zero when it does not say
	Secs      uint16     // seconds since it began, as it says
	Gateway   netip.Addr // of a relay; like all below, not valid when the packet has none
	Address   netip.Addr // that it has: ciaddr
	Requested netip.Addr // option 50
	ServerID  netip.Addr // option 54
	RelayInfo []byte     // option 82
	Relay     Relay      // what option 82 says; of packets that came from a relay
	RelayBad  bool       // option 82 is malformed, and nothing of it is believed
	Subnet    netip.Addr // option 118 (RFC 3011), when the packet came from a relay

	Ingress Ingress
	Own     []netip.Prefix // addresses of ours on the interface, the main one first; Server fills it in
	Late    bool           // the packet has waited as a Plan said, and nobody else was chosen; Server fills it in

	xid   dhcpv4.TransactionID
	htype uint8
	hops  uint8
	flags uint16
}

// Broadcast tells whether the client cannot receive before it has an address (RFC 2131 §4.1).
func (c Client) Broadcast() bool { return c.flags&0x8000 != 0 }

// XID is the transaction, which is of the client's making.
func (c Client) XID() string { return hex.EncodeToString(c.xid[:]) }

// SystemUUID is the machine's UUID as dmidecode and /sys/class/dmi/id/product_uuid show it; empty when the client sent
// none, or one that is all zeros or ones. Firmware sends it as it is in SMBIOS: the first three groups are little endian.
func (c Client) SystemUUID() string {
	if len(c.UUID) != 17 || c.UUID[0] != 0 {
		return ""
	}
	b := c.UUID[1:]
	if all := bytes.Count(b, b[:1]) == len(b); all && (b[0] == 0 || b[0] == 0xff) {
		return ""
	}
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:])
}

// Waited is for how many seconds the client has tried to get an answer. iPXE puts no seconds into the packet but the number
// of its tries, from 1 on, times four, and two bits (dhcp.c); it tries again after 1, 2, 4, ... seconds.
func (c Client) Waited() uint16 {
	if c.Kind != IPXE {
		return c.Secs
	}
	tries := min(max(c.Secs>>2, 1), 10)
	return 1<<(tries-1) - 1
}

// maxHops is how many relays a packet may have passed (RFC 1542 §4.1.1).
const maxHops = 16

// maxMAC is how long a hardware address may be: its field has no room for more.
const maxMAC = 16

// Options that this package reads or writes by their number.
const (
	optMask, optRouter, optDNS, optLog, optHostname, optDomain = 1, 3, 6, 7, 12, 15
	optNTP, optVendor, optRequested, optLeaseTime              = 42, 43, 50, 51
	optMessage, optServerID, optWants, optText, optMaxSize     = 53, 54, 55, 56, 57
	optClass, optClientID, optTFTPServer, optBootFile          = 60, 61, 66, 67
	optUserClass, optRelayInfo, optArch, optUUID               = 77, 82, 93, 97
	optSubnet, optRoutes, optIPXE                              = 118, 121, 175
)

// Classify reads a packet that came to one of our ports.
func Classify(packet []byte, in Ingress) (Client, error) {
	p, err := dhcpv4.FromBytes(packet)
	if err != nil {
		return Client{}, fmt.Errorf("a packet of %d bytes from %s is no DHCP: %w", len(packet), in.From, err)
	}
	if p.OpCode != dhcpv4.OpcodeBootRequest {
		return Client{}, fmt.Errorf("a packet from %s is no request but an answer; see that no other DHCP server sends to this port", in.From)
	}
	if long := packet[2]; long == 0 || long > maxMAC || p.HopCount > maxHops { // the library cuts what is too long
		return Client{}, fmt.Errorf("a request from %s has a hardware address of %d bytes and %d hops: it is forged, or relays go in a circle", in.From, long, p.HopCount)
	}
	c := Client{
		Message: p.MessageType(), MAC: p.ClientHWAddr, Class: text(p.Options[optClass]), Classes: userClasses(p.Options[optUserClass]),
		UUID: p.Options[optUUID], ClientID: p.Options[optClientID], Hostname: text(p.Options[optHostname]), FQDN: readFQDN(p.Options[optFQDN]), Wants: p.Options[optWants],
		Secs: p.NumSeconds, RelayInfo: p.Options[optRelayInfo], Ingress: in,
		xid: p.TransactionID, htype: uint8(p.HWType), hops: p.HopCount, flags: p.Flags,
	}
	switch c.Message {
	case dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline, dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeInform:
	default:
		return Client{}, fmt.Errorf("a packet from %s is no request of a DHCP client (message type %d)", c.MAC, c.Message)
	}
	if err := c.addresses(p); err != nil {
		return Client{}, fmt.Errorf("a request of %s: %w", c.MAC, err)
	}
	c.relayed(p.Options[optSubnet])
	if v := p.Options[optMaxSize]; len(v) == 2 {
		c.MaxSize = int(binary.BigEndian.Uint16(v))
	}
	c.architecture(p.Options[optArch])
	c.IPXE = features(p.Options[optIPXE])
	_, says175 := p.Options[optIPXE]
	c.Kind = kindOf(&c, says175)
	return c, nil
}

// errAddress is of packets with addresses that no host has.
var errAddress = errors.New("it names an address that no host can have")

func (c *Client) addresses(p *dhcpv4.DHCPv4) error {
	for _, f := range []struct {
		from []byte
		to   *netip.Addr
	}{{p.GatewayIPAddr, &c.Gateway}, {p.ClientIPAddr, &c.Address}, {p.Options[optRequested], &c.Requested}, {p.Options[optServerID], &c.ServerID}} {
		a, ok := netip.AddrFromSlice(f.from)
		if !ok || !a.Unmap().Is4() || a.Unmap().IsUnspecified() {
			continue // absent
		}
		if *f.to = a.Unmap(); f.to.IsMulticast() || f.to.IsLoopback() || *f.to == broadcast {
			return fmt.Errorf("%w: %s", errAddress, a)
		}
	}
	return nil
}

// architecture reads option 93: numbers of 16 bits. The first one known counts.
func (c *Client) architecture(b []byte) {
	for ; len(b) >= 2; b = b[2:] {
		code := binary.BigEndian.Uint16(b)
		c.Archs = append(c.Archs, code)
		if a, ok := ArchOf(code); ok && c.Arch.Name == "" {
			c.Arch = a
		}
	}
}

// Vendor classes. What follows them ("PXEClient:Arch:00007:UNDI:003000") is missing in some ROMs (ipxe#1527) and never read.
const (
	classPXE  = "PXEClient"
	classHTTP = "HTTPClient"
)

// class is the vendor class to answer with; empty for clients that sent neither.
func (c Client) class() string {
	for _, class := range []string{classPXE, classHTTP} {
		if strings.HasPrefix(c.Class, class) {
			return class
		}
	}
	return ""
}

// kindOf goes by what is hardest to fake by accident. Option 175 is in every iPXE, also where the user class is another
// (builds of vendors, Mellanox FlexBoot: warewulf3#104).
func kindOf(c *Client, says175 bool) Kind {
	if says175 || slices.Contains(c.Classes, "iPXE") {
		return IPXE
	}
	switch c.class() {
	case classHTTP:
		return UEFIHTTP
	case classPXE:
		if c.isPi() {
			return Pi
		}
		if c.Arch.UEFI {
			return UEFI
		}
		return BIOS // which may leave option 93 out
	}
	return Plain
}

// piPrefixes are the hardware addresses of Raspberry Pis.
var piPrefixes = [...][3]byte{{0xb8, 0x27, 0xeb}, {0xdc, 0xa6, 0x32}, {0xe4, 0x5f, 0x01}, {0xd8, 0x3a, 0xdd}, {0x28, 0xcd, 0xc1}, {0x2c, 0xcf, 0x67}}

// isPi knows a boot ROM that claims to be a BIOS (a Pi 5 does) by its hardware address, or by the UUID, which begins with
// "RPi" and the model. UEFI firmware on a Pi sends its own architecture and is not meant.
func (c *Client) isPi() bool {
	if c.Arch.Code == raspberryPi {
		return true
	}
	if c.Arch.Name != "" && !c.Arch.BIOS {
		return false
	}
	if len(c.UUID) == 17 && string(c.UUID[1:4]) == "RPi" {
		return true
	}
	return len(c.MAC) == 6 && slices.Contains(piPrefixes[:], [3]byte(c.MAC[:3]))
}

// userClasses reads option 77: a list of strings with their lengths (RFC 3004), or just a string, as iPXE sends it.
func userClasses(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	var out []string
	for rest := b; len(rest) > 0; {
		n := int(rest[0])
		if n == 0 || n >= len(rest) {
			return []string{text(b)}
		}
		out = append(out, text(rest[1:1+n]))
		rest = rest[1+n:]
	}
	return out
}

// features reads option 175, which holds options of its own (iPXE's features.h).
func features(b []byte) Features {
	var f Features
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		value := b[2 : 2+int(b[1])]
		on := len(value) > 0 && value[0] != 0
		switch b[0] {
		case 0x13:
			f.HTTP = on
		case 0x14:
			f.HTTPS = on
		case 0x15:
			f.TFTP = on
		case 0x24:
			f.EFI = on
		case 0x27:
			f.Menu = on
		case 0xeb:
			if len(value) == 3 {
				f.Version = fmt.Sprintf("%d.%d.%d", value[0], value[1], value[2])
			}
		}
		b = b[2+len(value):]
	}
	return f
}

// text is a string of an option: without zero bytes at its end, and printable, since it gets into logs and templates.
func text(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, string(bytes.TrimRight(b, "\x00")))
}
