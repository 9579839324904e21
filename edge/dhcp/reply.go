package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// ErrSilent is of packets that are not to be answered. Nothing is wrong then; what is wrapped around it says why.
var ErrSilent = errors.New("no answer")

func silent(why string) error { return fmt.Errorf("%w: %s", ErrSilent, why) }

var (
	broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	nowhere   = netip.AddrFrom4([4]byte{})
)

// Reply makes the answer to a client by a plan. self is the address of ours that answers, on the network that the client
// was heard on.
func Reply(c Client, plan Plan, self netip.Addr) (*dhcpv4.DHCPv4, Destination, error) {
	if !self.Is4() || self.IsUnspecified() {
		return nil, Destination{}, fmt.Errorf("answer %s: %s is no address to answer from; give the interface %q an IPv4 address", c.MAC, self, c.Ingress.Interface)
	}
	var p *dhcpv4.DHCPv4
	var err error
	switch {
	case plan.Mode == Silent:
		err = silent("the plan says so")
	case c.Ingress.Port == BootPort:
		p, err = c.bootServer(plan, self)
	case plan.Mode == Proxy:
		p, err = c.proxy(plan, self)
	default:
		p, err = c.full(plan, self)
	}
	if err == nil {
		err = c.finish(p, plan, self)
	}
	if err != nil {
		return nil, Destination{}, fmt.Errorf("answer the %s of %s (%s): %w", c.Message, c.MAC, c.Kind, err)
	}
	return p, c.destination(p, plan), nil
}

// proxy answers beside the site's own server.
func (c Client) proxy(plan Plan, self netip.Addr) (*dhcpv4.DHCPv4, error) {
	switch {
	case c.Message != dhcpv4.MessageTypeDiscover:
		return nil, silent("the site's own server answers all but DISCOVER on port 67")
	case c.Kind == Plain:
		return nil, silent("it does not ask for something to boot")
	}
	p := c.answer(dhcpv4.MessageTypeOffer, self)
	return p, c.boot(p, plan, self)
}

// bootServer answers on port 4011, where the client comes with the address that it has from somebody.
func (c Client) bootServer(plan Plan, self netip.Addr) (*dhcpv4.DHCPv4, error) {
	switch {
	case c.Message != dhcpv4.MessageTypeRequest && c.Message != dhcpv4.MessageTypeInform:
		return nil, silent("on port 4011 only REQUEST and INFORM mean something")
	case c.ServerID.IsValid() && c.ServerID != self:
		return nil, silent("it asks the boot server " + c.ServerID.String())
	case c.Kind == Plain:
		return nil, silent("it does not ask for something to boot")
	case !c.Ingress.From.IsValid() || c.Ingress.From.Port() == 0:
		return nil, silent("nobody knows where it came from")
	}
	p := c.answer(dhcpv4.MessageTypeAck, self)
	p.ClientIPAddr = ip(c.Address)
	return p, c.boot(p, plan, self)
}

// full answers as the only server (RFC 2131 §4.3).
func (c Client) full(plan Plan, self netip.Addr) (*dhcpv4.DHCPv4, error) {
	lease := plan.Lease
	if plan.Refuse != "" {
		return c.refuse(plan.Refuse, self)
	}
	if c.Message != dhcpv4.MessageTypeInform && (!lease.Address.IsValid() || !lease.Address.Addr().Is4() || lease.Time <= 0) {
		return nil, fmt.Errorf("the plan gives it the address %s for %s; a full answer needs an IPv4 prefix and a time", lease.Address, lease.Time)
	}
	var p *dhcpv4.DHCPv4
	switch c.Message {
	case dhcpv4.MessageTypeDiscover:
		p = c.answer(dhcpv4.MessageTypeOffer, self)
	case dhcpv4.MessageTypeInform:
		p = c.answer(dhcpv4.MessageTypeAck, self)
		p.ClientIPAddr = ip(c.Address)
		if !c.Address.IsValid() {
			return nil, silent("an INFORM must say the client's address")
		}
	case dhcpv4.MessageTypeRequest:
		no, err := c.refused(plan, self)
		if err != nil {
			return nil, err
		}
		if no != "" {
			return c.refuse(no, self)
		}
		p = c.answer(dhcpv4.MessageTypeAck, self)
		p.ClientIPAddr = ip(c.Address)
	default:
		return nil, silent("nothing is expected")
	}
	if err := c.lease(p, lease); err != nil {
		return nil, err
	}
	if plan.Boot.File == "" && c.Kind != Pi {
		return p, nil
	}
	return p, c.boot(p, plan, self)
}

// refuse tells a client that it may not have what it asks for.
func (c Client) refuse(why string, self netip.Addr) (*dhcpv4.DHCPv4, error) {
	if c.Message != dhcpv4.MessageTypeRequest {
		return nil, silent(why)
	}
	if c.ServerID.IsValid() && c.ServerID != c.serverID(self) {
		return nil, silent("it has chosen the server " + c.ServerID.String())
	}
	p := c.answer(dhcpv4.MessageTypeNak, self)
	p.Options[optText] = []byte(why)
	return p, nil
}

// refused tells what is wrong with a REQUEST: a sentence for a NAK, or an error when it is not ours to answer.
func (c Client) refused(plan Plan, self netip.Addr) (string, error) {
	want := plan.Lease.Address.Addr()
	asked := c.Requested
	switch {
	case c.ServerID.IsValid() && c.ServerID != c.serverID(self):
		return "", silent("it has chosen the server " + c.ServerID.String())
	case c.Address.IsValid(): // RENEWING or REBINDING
		asked = c.Address
	case !asked.IsValid():
		return "", silent("it asks for no address")
	}
	if asked == want {
		return "", nil
	}
	if !plan.Authoritative && c.ServerID != c.serverID(self) {
		return "", silent(fmt.Sprintf("it asks for %s and not for %s, and may have it from another server", asked, want))
	}
	return fmt.Sprintf("your address is %s", want), nil
}

// answer begins an answer with what all have.
func (c Client) answer(kind dhcpv4.MessageType, self netip.Addr) *dhcpv4.DHCPv4 {
	p := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: iana.HWType(c.htype), ClientHWAddr: slices.Clone(c.MAC), TransactionID: c.xid, Flags: c.flags,
		ClientIPAddr: ip(nowhere), YourIPAddr: ip(nowhere), ServerIPAddr: ip(nowhere), GatewayIPAddr: ip(c.Gateway),
		Options: dhcpv4.Options{optMessage: {byte(kind)}, optServerID: c.serverID(self).AsSlice()},
	}
	if kind == dhcpv4.MessageTypeNak && c.Gateway.IsValid() {
		p.Flags |= 0x8000 // RFC 2131 §4.3.2: the relay must broadcast it, as the client's address is wrong
	}
	for code, value := range map[uint8][]byte{
		optClientID: c.ClientID, // RFC 6842
		optUUID:     c.UUID,     // PXE 2.1
	} {
		if len(value) > 0 {
			p.Options[code] = value
		}
	}
	return p
}

// finish adds what the plan says and makes the packet small enough.
func (c Client) finish(p *dhcpv4.DHCPv4, plan Plan, self netip.Addr) error {
	if p.MessageType() != dhcpv4.MessageTypeNak {
		for code, value := range plan.Options {
			if code == 0 || code == 255 || code == optMessage || code == optServerID {
				return fmt.Errorf("the plan sets option %d, which is not for plans", code)
			}
			p.Options[code] = value
		}
	}
	if len(c.RelayInfo) > 0 {
		p.Options[optRelayInfo] = c.RelayInfo // RFC 3046 §2.2
	}
	for code, value := range p.Options {
		if len(value) > 255 {
			return fmt.Errorf("option %d would have %d bytes; firmware reads at most 255", code, len(value))
		}
	}
	return c.fit(p)
}

// expendable are options that a client boots without, the least important first.
var expendable = []uint8{optFQDN, optNTP, optLog, optDomain, optHostname, optTFTPServer}

const (
	ipHeaders  = 28   // bytes: IP and UDP
	leastSize  = 576  // bytes of an IP packet that every client takes (RFC 2131 §2)
	mostSize   = 1472 // bytes that are sent at most: EDK2 asks for 65280, which would not go in one piece
	fileField  = 127  // bytes: what is longer goes into option 67, since the field ends with a zero byte
	leastBytes = 240  // without options
	// paddedBytes is how long packets are at least, for BOOTP relay agents (RFC 951 §3).
	paddedBytes = 300
	longestURL  = 254 // bytes: an option's 255 without the zero byte that ends it
)

// fit leaves options out until the packet is as small as the client wants it.
func (c Client) fit(p *dhcpv4.DHCPv4) error {
	room := min(max(c.MaxSize, leastSize), mostSize) - ipHeaders
	for _, code := range expendable {
		if size(p) <= room {
			return nil
		}
		delete(p.Options, code)
	}
	if n := size(p); n > room {
		return fmt.Errorf("the answer has %d bytes and the client takes %d; give it fewer routes, name servers or options of your own", n, room)
	}
	return nil
}

// size is how many bytes a packet has. Its options are no longer than 255 bytes.
func size(p *dhcpv4.DHCPv4) int {
	n := leastBytes + 1 // what ends them
	for _, value := range p.Options {
		n += 2 + len(value)
	}
	return max(n, paddedBytes)
}

// destination is where an answer goes (RFC 2131 §4.1).
func (c Client) destination(p *dhcpv4.DHCPv4, plan Plan) Destination {
	everyone := netip.AddrPortFrom(broadcast, clientPort)
	switch {
	case c.Ingress.Port == BootPort:
		return Destination{Addr: c.Ingress.From}
	case c.Gateway.IsValid():
		return Destination{Addr: netip.AddrPortFrom(c.Gateway, ServerPort)}
	case p.MessageType() == dhcpv4.MessageTypeNak:
		return Destination{Addr: everyone}
	case c.Address.IsValid() && c.Message != dhcpv4.MessageTypeDiscover: // a DISCOVER comes from nobody who has an address
		return Destination{Addr: netip.AddrPortFrom(c.Address, clientPort)}
	case c.Broadcast() || len(c.MAC) != 6:
		return Destination{Addr: everyone}
	case plan.Mode == Full:
		return Destination{Addr: netip.AddrPortFrom(plan.Lease.Address.Addr(), clientPort), MAC: c.MAC}
	case c.Kind == Pi: // it takes other machines' offers for its own (raspberrypi/firmware#1303)
		return Destination{Addr: everyone, MAC: c.MAC}
	}
	return Destination{Addr: everyone}
}

func ip(a netip.Addr) net.IP {
	if !a.Is4() {
		return net.IPv4zero.To4()
	}
	return a.AsSlice()
}
