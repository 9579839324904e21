package dhcp6

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp"
)

// Ports (RFC 8415 §7.2).
const (
	ServerPort = 547
	clientPort = 546
)

// Ingress says how a packet came.
type Ingress struct {
	Interface string
	Index     int // of the interface
	From      netip.AddrPort
	To        netip.Addr // as in the packet: most often the group of all servers; not valid when it is not known
}

// Client is everything of a packet that matters.
type Client struct {
	Kind    dhcp.Kind
	Message dhcpv6.MessageType
	DUID    DUID             // empty with an INFORMATION-REQUEST of a client that does not say who it is
	MAC     net.HardwareAddr // nil: not known
	UUIDs   []string         // that the machine may have; the first is more likely
	Archs   []uint16         // option 61
	Arch    dhcp.Arch        // the first of Archs that is known; its Name is empty when there is none
	Class   string           // the first of option 16
	Maker   uint32           // the enterprise number of option 16
	Classes []string         // user classes: option 15

	Hostname string // that it calls itself: option 39; empty when it does not, or with what no name has

	IAs      []IA
	Wants    []dhcpv6.OptionCode // option 6
	Elapsed  time.Duration       // since it began, as it says
	Rapid    bool                // it would take its address at once
	ServerID DUID                // that it has chosen

	Peer    netip.Addr // its own address, without a zone
	Link    netip.Addr // an address of its link, as relays say; not valid when none does
	Relayed bool

	Ingress Ingress

	xid    dhcpv6.TransactionID
	relays []relay
}

// IA is what addresses are asked for together (RFC 8415 §4.2).
type IA struct {
	Code      dhcpv6.OptionCode // IA_NA, IA_TA or IA_PD
	ID        [4]byte
	Addresses []netip.Addr // that the client has, or wishes
}

// maxIAs is how many a client may have. A machine that boots has one.
const maxIAs = 8

// XID is the transaction, which is of the client's making.
func (c Client) XID() string { return hex.EncodeToString(c.xid[:]) }

// Waited is for how many seconds the client has tried to get an answer.
func (c Client) Waited() uint16 { return uint16(c.Elapsed / time.Second) }

// Asked are the addresses that the client has or wishes.
func (c Client) Asked() []netip.Addr {
	var all []netip.Addr
	for _, ia := range c.IAs {
		if ia.Code == dhcpv6.OptionIANA {
			all = append(all, ia.Addresses...)
		}
	}
	return all
}

// Binds tells whether an answer by this plan gives the client an address for good, which must be known everywhere before.
func (c Client) Binds(rapid bool) bool {
	switch c.Message {
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		return true
	}
	return c.Message == dhcpv6.MessageTypeSolicit && c.Rapid && rapid
}

// String names a client for people.
func (c Client) String() string {
	if c.MAC != nil {
		return c.MAC.String()
	}
	return "the client " + c.DUID.String()
}

// Classify reads a packet that came to our port.
func Classify(packet []byte, in Ingress) (Client, error) {
	inner, relays, seen, err := unwrap(packet)
	if err != nil {
		return Client{}, fmt.Errorf("a packet from %s is no DHCPv6: %w", in.From, err)
	}
	if len(inner) < clientHeader {
		return Client{}, fmt.Errorf("a packet of %d bytes from %s is no DHCPv6: it is too short", len(packet), in.From)
	}
	c := Client{Message: dhcpv6.MessageType(inner[0]), Ingress: in, xid: [3]byte(inner[1:4]), relays: relays, Relayed: len(relays) > 0, Peer: in.From.Addr().WithZone("")}
	if c.Relayed {
		c.Peer, c.Link = relays[len(relays)-1].peer, linkOf(relays)
	}
	if !asks(c.Message) {
		return Client{}, fmt.Errorf("a packet from %s is no request of a DHCPv6 client (message type %d); see that no other server sends to this port", in.From, inner[0])
	}
	var bad error
	err = each(inner[clientHeader:], func(code dhcpv6.OptionCode, value []byte) {
		if e := c.option(code, value); e != nil && bad == nil {
			bad = fmt.Errorf("its option %d: %w", code, e)
		}
	})
	if err == nil {
		err = bad
	}
	if err == nil && len(c.DUID) == 0 && c.Message != dhcpv6.MessageTypeInformationRequest {
		err = fmt.Errorf("it does not say who it is") // RFC 8415 §16
	}
	if err != nil {
		return Client{}, fmt.Errorf("a request from %s (%s): %w", in.From, c.Message, err)
	}
	c.identify(seen)
	c.Kind = kindOf(&c)
	return c, nil
}

func asks(t dhcpv6.MessageType) bool {
	switch t {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind,
		dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline, dhcpv6.MessageTypeInformationRequest:
		return true
	}
	return false
}

// option reads one option. What boot programs are known to get wrong is taken as it is; what answers depend on is not.
func (c *Client) option(code dhcpv6.OptionCode, value []byte) error {
	switch code {
	case dhcpv6.OptionClientID, dhcpv6.OptionServerID:
		if len(value) < 3 || len(value) > longestDUID {
			return fmt.Errorf("a DUID has %d bytes; it has 3 to %d", len(value), longestDUID)
		}
		if code == dhcpv6.OptionClientID {
			c.DUID = slices.Clone(value)
		} else {
			c.ServerID = slices.Clone(value)
		}
	case dhcpv6.OptionIANA, dhcpv6.OptionIATA, dhcpv6.OptionIAPD:
		return c.association(code, value)
	case dhcpv6.OptionORO:
		for ; len(value) >= 2; value = value[2:] {
			c.Wants = append(c.Wants, dhcpv6.OptionCode(binary.BigEndian.Uint16(value)))
		}
	case dhcpv6.OptionElapsedTime:
		if len(value) == 2 {
			c.Elapsed = time.Duration(binary.BigEndian.Uint16(value)) * 10 * time.Millisecond
		}
	case dhcpv6.OptionRapidCommit:
		c.Rapid = true
	case dhcpv6.OptionFQDN:
		c.Hostname = hostname(value)
	case dhcpv6.OptionUserClass:
		c.Classes = texts(value)
	case dhcpv6.OptionVendorClass:
		if len(value) >= 4 && c.Class == "" {
			c.Maker = binary.BigEndian.Uint32(value)
			if all := texts(value[4:]); len(all) > 0 {
				c.Class = all[0]
			}
		}
	case dhcpv6.OptionClientArchType:
		for ; len(value) >= 2; value = value[2:] {
			number := binary.BigEndian.Uint16(value)
			c.Archs = append(c.Archs, number)
			if a, ok := dhcp.ArchOf(number); ok && c.Arch.Name == "" {
				c.Arch = a
			}
		}
	}
	return nil
}

// association reads an IA.
func (c *Client) association(code dhcpv6.OptionCode, value []byte) error {
	head := 12 // IAID, T1, T2
	if code == dhcpv6.OptionIATA {
		head = 4
	}
	if len(value) < head || len(c.IAs) == maxIAs {
		return fmt.Errorf("an association has %d bytes, and there are %d others; it has at least %d, and a client at most %d", len(value), len(c.IAs), head, maxIAs)
	}
	ia := IA{Code: code, ID: [4]byte(value)}
	var bad error
	err := each(value[head:], func(code dhcpv6.OptionCode, value []byte) {
		if code != dhcpv6.OptionIAAddr {
			return
		}
		if len(value) < 24 {
			bad = fmt.Errorf("an address has %d bytes with its times; it has 24", len(value))
			return
		}
		ia.Addresses = append(ia.Addresses, netip.AddrFrom16([16]byte(value)))
	})
	if err == nil {
		err = bad
	}
	c.IAs = append(c.IAs, ia)
	return err
}

// Vendor classes (UEFI 2.10 §24.3.1, §24.7.3).
const (
	classPXE  = "PXEClient"
	classHTTP = "HTTPClient"
)

// kindOf knows iPXE by its user class, and firmware by its vendor class, which iPXE sends too.
func kindOf(c *Client) dhcp.Kind {
	switch {
	case slices.Contains(c.Classes, "iPXE"):
		return dhcp.IPXE
	case strings.HasPrefix(c.Class, classHTTP) || c.Arch.HTTP:
		return dhcp.UEFIHTTP
	case strings.HasPrefix(c.Class, classPXE) || c.Arch.UEFI || c.Arch.BIOS:
		if c.Arch.BIOS {
			return dhcp.BIOS
		}
		return dhcp.UEFI
	}
	return dhcp.Plain
}

// hostname is the first label of the name in option 39 (RFC 4704 §4), which may be written in part; empty when it is none.
func hostname(b []byte) string {
	if len(b) < 3 || b[1] == 0 || b[1] > 63 || len(b) < 2+int(b[1]) {
		return ""
	}
	label := b[2 : 2+b[1]]
	if slices.ContainsFunc(label, func(c byte) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}) {
		return ""
	}
	return string(label)
}

// texts reads a list of strings with their lengths, or a string alone, as some send it.
func texts(b []byte) []string {
	var out []string
	for rest := b; len(rest) > 0; {
		n := 0
		if len(rest) >= 2 {
			n = int(binary.BigEndian.Uint16(rest))
		}
		if len(rest) < 2 || len(rest) < 2+n {
			return []string{printable(b)}
		}
		out = append(out, printable(rest[2:2+n]))
		rest = rest[2+n:]
	}
	return out
}

// printable is a string of an option as logs and templates may have it.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.TrimRight(string(b), "\x00"))
}
