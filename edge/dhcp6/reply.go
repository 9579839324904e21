package dhcp6

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/kiln-farm/kiln/edge/dhcp"
)

// ErrSilent is of packets that are not to be answered. Nothing is wrong then; what is wrapped around it says why.
var ErrSilent = dhcp.ErrSilent

func silent(why string) error { return fmt.Errorf("%w: %s", ErrSilent, why) }

// Answer is a packet to send, without and with what relays need around it.
type Answer struct {
	Message *dhcpv6.Message
	Packet  []byte
	To      netip.AddrPort
}

// Check tells whether a client's packet is for the server self at all, before anything is decided about it (RFC 8415 §16).
func Check(c Client, self DUID) error {
	multicast := !c.Ingress.To.IsValid() || c.Ingress.To.IsMulticast() || c.Relayed
	chosen, ours := len(c.ServerID) > 0, slices.Equal(c.ServerID, self)
	switch c.Message {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRebind:
		if chosen {
			return silent("it is meant for all servers and names one")
		}
		if !multicast {
			return silent("it is meant for all servers and was sent to one")
		}
	case dhcpv6.MessageTypeInformationRequest:
		switch {
		case chosen && !ours:
			return silent("it asks another server")
		case len(c.IAs) > 0:
			return silent("it wants addresses, with a message that is for options only")
		case !multicast:
			return silent("it is meant for all servers and was sent to one")
		}
	default: // REQUEST, RENEW, RELEASE, DECLINE
		if !ours {
			return silent("it has chosen another server, or none")
		}
	}
	return nil
}

// misdirected tells whether a client must be told to ask everyone (RFC 8415 §18.4): nobody said it may ask one server.
func (c Client) misdirected() bool {
	switch c.Message {
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		return !c.Relayed && c.Ingress.To.IsValid() && !c.Ingress.To.IsMulticast()
	}
	return false
}

// Reply makes the answer to a client by a plan. self is the server that answers.
func Reply(c Client, plan Plan, self DUID) (Answer, error) {
	m, err := c.answer(plan, self)
	if err == nil {
		err = c.fit(m, plan)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("answer the %s of %s (%s): %w", c.Message, c, c.Kind, err)
	}
	return Answer{Message: m, Packet: wrap(m.ToBytes(), c.relays), To: c.destination()}, nil
}

func (c Client) answer(plan Plan, self DUID) (*dhcpv6.Message, error) {
	if err := Check(c, self); err != nil {
		return nil, err
	}
	m := c.begin(dhcpv6.MessageTypeReply, self)
	if c.misdirected() {
		m.AddOption(status(iana.StatusUseMulticast, "ask all servers, at ff02::1:2"))
		return m, nil
	}
	if plan.Mode == Silent {
		return nil, silent("the plan says so")
	}
	if plan.Mode == Stateless && c.Message != dhcpv6.MessageTypeInformationRequest {
		return nil, silent("addresses are not ours to give")
	}
	if err := plan.check(); err != nil {
		return nil, err
	}
	switch c.Message {
	case dhcpv6.MessageTypeSolicit:
		return c.offer(m, plan)
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		if err := c.associate(m, plan); err != nil {
			return nil, err
		}
		return m, c.options(m, plan)
	case dhcpv6.MessageTypeConfirm:
		return m, c.confirm(m, plan)
	case dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		c.givenUp(m, plan)
		return m, nil
	}
	return m, c.options(m, plan)
}

// check finds what is wrong with a plan before it is in a packet.
func (p Plan) check() error {
	l := p.Lease
	if !l.Address.IsValid() {
		return nil
	}
	if !l.Address.Is6() || l.Address.Is4In6() || !l.Address.IsGlobalUnicast() || l.Address.Zone() != "" {
		return fmt.Errorf("the plan gives it %s, which is no IPv6 address of a machine", l.Address)
	}
	if l.Valid <= 0 || l.Preferred <= 0 || l.Preferred > l.Valid {
		return fmt.Errorf("the plan gives it %s for %s, preferred for %s; both are needed, and the second is no longer than the first", l.Address, l.Valid, l.Preferred)
	}
	return nil
}

// begin begins a message with what all have.
func (c Client) begin(kind dhcpv6.MessageType, self DUID) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: c.xid}
	if len(c.DUID) > 0 {
		m.AddOption(raw(dhcpv6.OptionClientID, c.DUID))
	}
	m.AddOption(raw(dhcpv6.OptionServerID, self))
	return m
}

// offer answers a SOLICIT, with a REPLY at once where both sides want that (RFC 8415 §18.3.1).
func (c Client) offer(m *dhcpv6.Message, plan Plan) (*dhcpv6.Message, error) {
	if len(c.IAs) == 0 {
		return nil, silent("it asks for no address")
	}
	if c.Binds(plan.Rapid) && plan.Lease.Address.IsValid() {
		m.AddOption(raw(dhcpv6.OptionRapidCommit, nil))
	} else {
		m.MessageType = dhcpv6.MessageTypeAdvertise
		if plan.Preference > 0 {
			m.AddOption(raw(dhcpv6.OptionPreference, []byte{plan.Preference}))
		}
	}
	if err := c.associate(m, plan); err != nil {
		return nil, err
	}
	return m, c.options(m, plan)
}

// confirm says whether the addresses that a client has fit the link that it is on now (RFC 8415 §18.3.3).
func (c Client) confirm(m *dhcpv6.Message, plan Plan) error {
	asked := c.Asked()
	if len(asked) == 0 {
		return silent("it asks about no address")
	}
	if len(plan.OnLink) == 0 {
		return silent("nobody knows the networks of its link")
	}
	for _, a := range asked {
		if !plan.onLink(a) {
			m.AddOption(status(iana.StatusNotOnLink, fmt.Sprintf("%s is not of this link", a)))
			return nil
		}
	}
	m.AddOption(status(iana.StatusSuccess, "all addresses are of this link"))
	return nil
}

// onLink tells whether an address fits the client's link. Where nobody knows, all do.
func (p Plan) onLink(a netip.Addr) bool {
	return len(p.OnLink) == 0 || slices.ContainsFunc(p.OnLink, func(n netip.Prefix) bool { return n.Contains(a) })
}

// destination is where the answer goes (RFC 8415 §18.3.10, §19.3, RFC 8357 §5.2).
func (c Client) destination() netip.AddrPort {
	switch from := c.Ingress.From; {
	case !c.Relayed:
		return netip.AddrPortFrom(from.Addr(), clientPort)
	case c.relays[0].port:
		return from
	default:
		return netip.AddrPortFrom(from.Addr(), ServerPort)
	}
}

// expendable are options that a client boots without, the least important first.
var expendable = []dhcpv6.OptionCode{dhcpv6.OptionNTPServer, dhcpv6.OptionSNTPServerList, dhcpv6.OptionDomainSearchList, dhcpv6.OptionDNSRecursiveNameServer}

const (
	mostBytes     = 1232 // of a message: IPv6's least MTU of 1280 bytes, less the headers of IPv6 and UDP
	firmwareBytes = 1024 // EDK2 keeps no longer one (PXEBC_DHCP6_PACKET_MAX_SIZE)
)

// fit leaves options out until the message is as small as the client takes it.
func (c Client) fit(m *dhcpv6.Message, plan Plan) error {
	room := mostBytes
	if c.Kind == dhcp.UEFI || c.Kind == dhcp.UEFIHTTP {
		room = firmwareBytes
	}
	custom := slices.Sorted(maps.Keys(plan.Options))
	slices.Reverse(custom)
	for _, code := range append(codes(custom), expendable...) {
		if len(m.ToBytes()) <= room {
			return nil
		}
		m.Options.Del(code)
	}
	if n := len(m.ToBytes()); n > room {
		return fmt.Errorf("the answer has %d bytes and the client takes %d; give it a shorter boot file URL, or fewer parameters", n, room)
	}
	return nil
}

func codes(numbers []uint16) (out []dhcpv6.OptionCode) {
	for _, n := range numbers {
		out = append(out, dhcpv6.OptionCode(n))
	}
	return out
}

func status(code iana.StatusCode, text string) dhcpv6.Option {
	return &dhcpv6.OptStatusCode{StatusCode: code, StatusMessage: text}
}

// IsSilent tells whether nothing was to be answered.
func IsSilent(err error) bool { return errors.Is(err, ErrSilent) }
