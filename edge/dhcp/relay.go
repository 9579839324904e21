package dhcp

import (
	"errors"
	"net/netip"
)

// Suboptions of option 82 that are read here. Others are only sent back.
const (
	subLink     = 5  // RFC 3527: the network that the client is on
	subServerID = 11 // RFC 5107: what the client shall take for the server
)

// Relay is what a relay agent says in option 82.
type Relay struct {
	Link     netip.Addr // an address in the client's network; not valid when it does not say
	ServerID netip.Addr // that the client is to be told; not valid when it does not say
}

var errRelay = errors.New("option 82 is malformed")

// ReadRelay reads option 82 (RFC 3046 §2.0): suboptions with their lengths. Of two of one kind the first counts.
func ReadRelay(b []byte) (Relay, error) {
	var r Relay
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return Relay{}, errRelay
		}
		value := b[2 : 2+int(b[1])]
		for code, to := range map[byte]*netip.Addr{subLink: &r.Link, subServerID: &r.ServerID} {
			if code != b[0] || to.IsValid() {
				continue
			}
			a, ok := netip.AddrFromSlice(value)
			if !ok || !a.Is4() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == broadcast {
				return Relay{}, errRelay
			}
			*to = a
		}
		b = b[2+len(value):]
	}
	return r, nil
}

// relayed reads what only relays may say.
func (c *Client) relayed(subnet []byte) {
	if !c.Gateway.IsValid() {
		return
	}
	if len(c.RelayInfo) > 0 {
		relay, err := ReadRelay(c.RelayInfo)
		c.Relay, c.RelayBad = relay, err != nil
	}
	if a, ok := netip.AddrFromSlice(subnet); ok && a.Is4() && !a.IsUnspecified() {
		c.Subnet = a
	}
}

// serverID is what the client knows the server by, whose own address is self (RFC 5107 §4).
func (c Client) serverID(self netip.Addr) netip.Addr {
	if c.Relay.ServerID.IsValid() {
		return c.Relay.ServerID
	}
	return self
}

// Direct says whether the client sent to this edge alone, and by no relay. The address may be that of another interface.
func (c Client) Direct() bool {
	to := c.Ingress.To
	if c.Gateway.IsValid() || !to.Is4() || to == broadcast {
		return false
	}
	for _, p := range c.Own {
		if next := to.Next(); p.Contains(to) && (!next.IsValid() || !p.Contains(next)) && p.Bits() < 31 {
			return false // the network's broadcast address
		}
	}
	return true
}

// Chose says whether the client has chosen a server, and whether this edge is it.
func (c Client) Chose() (some, us bool) {
	if !c.ServerID.IsValid() {
		return false, false
	}
	if c.Relay.ServerID == c.ServerID {
		return true, true
	}
	for _, p := range c.Own {
		if p.Addr() == c.ServerID {
			return true, true
		}
	}
	return true, false
}
