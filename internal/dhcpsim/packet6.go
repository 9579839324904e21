package dhcpsim

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// Types of DUIDs (RFC 8415 §11, RFC 6355).
const (
	duidLLT  = 1
	duidEN   = 2
	duidLL   = 3
	duidUUID = 4
)

// identity is how a program calls itself: each of a machine's has its own.
type identity struct {
	duid string // its bytes
	iaid [4]byte
	from netip.Addr // its address of the link
}

// uuidOf is the UUID of a machine, by its number.
func uuidOf(id int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(id)), "kiln six uid"...)
}

// identityOf is what a program of a machine calls itself. Firmware has the machine's UUID, iPXE the hardware address, and systems
// the latter with the time of their installation, or a number of their own. Systems hide the hardware address in their address
// of the link (RFC 7217), unless nothing else would tell it.
func (b *body) identityOf(p program) identity {
	duid := func(kind uint16, rest ...byte) string {
		return string(append(binary.BigEndian.AppendUint16(nil, kind), rest...))
	}
	i := identity{from: ofMAC(b.mac)}
	switch number := binary.BigEndian.AppendUint32(nil, uint32(b.id)); p {
	case firmware:
		i.duid, i.iaid = duid(duidUUID, uuidOf(b.id)...), [4]byte{0, 0, 0, 1}
	case ipxe:
		i.duid, i.iaid = duid(duidLL, append([]byte{0, 1}, b.mac[:]...)...), [4]byte(b.mac[2:])
	case system:
		i.iaid = [4]byte(number)
		if b.id%2 == 0 {
			i.duid = duid(duidLLT, slices.Concat([]byte{0, 1}, number, b.mac[:])...)
		} else {
			i.duid = duid(duidEN, slices.Concat([]byte{0, 0, 0xab, 0x11}, number, number)...)
		}
		if b.network.Relay.IsValid() && (b.network.Hardware || b.id%2 == 0) {
			i.from = netip.AddrFrom16([16]byte{0xfe, 0x80, 8: 0x7a, 9: 1, 10: 2, 11: 3, 12: number[0], 13: number[1], 14: number[2], 15: number[3]})
		}
	}
	return i
}

// ofMAC is the address of a link that is made of a hardware address (RFC 4291 appendix A).
func ofMAC(mac history.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]})
}

func generic(code dhcpv6.OptionCode, value ...byte) dhcpv6.Option {
	return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: value}
}

// request6 begins a message of a client. asked are the addresses in its association.
func request6(kind dhcpv6.MessageType, xid uint32, who identity, waited time.Duration, asked ...netip.Addr) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: transaction(xid)}
	m.AddOption(generic(dhcpv6.OptionClientID, []byte(who.duid)...))
	m.AddOption(dhcpv6.OptElapsedTime(min(waited, 65535*10*time.Millisecond)))
	ia := &dhcpv6.OptIANA{IaId: who.iaid}
	for _, a := range asked {
		if a.Is6() {
			ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice()})
		}
	}
	m.AddOption(ia)
	return m
}

func transaction(xid uint32) dhcpv6.TransactionID {
	return dhcpv6.TransactionID{byte(xid >> 16), byte(xid >> 8), byte(xid)}
}

// program6 adds what a program says of itself.
func program6(m *dhcpv6.Message, p program) {
	wants := dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList)
	if p != system {
		wants = dhcpv6.OptRequestedOption(dhcpv6.OptionBootfileURL, dhcpv6.OptionDNSRecursiveNameServer)
		m.AddOption(dhcpv6.OptClientArchType(iana.EFI_X86_64))
		m.AddOption(&dhcpv6.OptVendorClass{EnterpriseNumber: 343, Data: [][]byte{[]byte("PXEClient:Arch:00007:UNDI:003016")}})
	}
	if p == ipxe {
		m.AddOption(generic(dhcpv6.OptionUserClass, append([]byte{0, 4}, "iPXE"...)...))
	}
	m.AddOption(wants)
}

// relayed6 is a message as a relay agent passes it on (RFC 8415 §19.1).
func relayed6(m dhcpv6.DHCPv6, n Network, mac history.MAC, peer netip.Addr) *dhcpv6.RelayMessage {
	r := &dhcpv6.RelayMessage{MessageType: dhcpv6.MessageTypeRelayForward, LinkAddr: n.Relay.AsSlice(), PeerAddr: peer.AsSlice()}
	if n.Circuit != "" {
		r.AddOption(dhcpv6.OptInterfaceID([]byte(n.Circuit)))
	}
	if n.Hardware {
		r.AddOption(dhcpv6.OptClientLinkLayerAddress(iana.HWTypeEthernet, net.HardwareAddr(mac[:])))
	}
	r.AddOption(dhcpv6.OptRelayMessage(m))
	return r
}

// reply6 is what a client reads of an answer.
type reply6 struct {
	kind       dhcpv6.MessageType
	xid        uint32
	server     string     // DUID
	client     string     // DUID
	iaid       [4]byte    // of the association; zero when there is none
	link, peer netip.Addr // of the relay agent; not valid: there is none
	circuit    string     // of it, too

	address       netip.Addr // that is given
	lease, t1, t2 time.Duration
	taken         []netip.Addr // with no time left
	status        iana.StatusCode
	preference    uint8
	rapid         bool
}

// parse6 reads an answer; false when it is none.
func parse6(b []byte) (r reply6, ok bool) {
	packet, err := dhcpv6.FromBytes(b)
	if err != nil {
		return r, false
	}
	if outer, relayed := packet.(*dhcpv6.RelayMessage); relayed {
		r.link, _ = netip.AddrFromSlice(outer.LinkAddr)
		r.peer, _ = netip.AddrFromSlice(outer.PeerAddr)
		r.circuit = string(outer.Options.InterfaceID())
		packet = outer.Options.RelayMessage()
	}
	m, ok := packet.(*dhcpv6.Message)
	if !ok || m.MessageType != dhcpv6.MessageTypeAdvertise && m.MessageType != dhcpv6.MessageTypeReply || m.Options.ServerID() == nil || m.Options.ClientID() == nil {
		return r, false
	}
	id := m.TransactionID
	r.kind, r.xid = m.MessageType, uint32(id[0])<<16|uint32(id[1])<<8|uint32(id[2])
	r.server, r.client = string(m.Options.ServerID().ToBytes()), string(m.Options.ClientID().ToBytes())
	r.preference, r.rapid = m.Options.Preference(), m.GetOneOption(dhcpv6.OptionRapidCommit) != nil
	if s := m.Options.Status(); s != nil {
		r.status = s.StatusCode
	}
	ia := m.Options.OneIANA()
	if ia == nil {
		return r, true
	}
	r.iaid = ia.IaId
	if s := ia.Options.Status(); s != nil && r.status == iana.StatusSuccess {
		r.status = s.StatusCode
	}
	for _, one := range ia.Options.Addresses() {
		a, _ := netip.AddrFromSlice(one.IPv6Addr)
		if one.ValidLifetime > 0 {
			r.address, r.lease, r.t1, r.t2 = a, one.ValidLifetime, ia.T1, ia.T2
		} else {
			r.taken = append(r.taken, a)
		}
	}
	return r, true
}
