package decide

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/dhcp"
)

// Want is what a client is about (RFC 2131 §4.3.2 tells the REQUESTs apart).
type Want int

// What clients are about.
const (
	Nothing     Want = iota
	Discovering      // DISCOVER
	Selecting        // REQUEST of an offer
	Rebooting        // REQUEST of the address that it had before it started anew (INIT-REBOOT)
	Renewing         // REQUEST to us alone for more time (RENEWING)
	Rebinding        // REQUEST to everybody for more time (REBINDING)
	Releasing
	Declining
	Informing
)

// Ask is what a packet asks for.
type Ask struct {
	Want    Want
	About   netip.Addr // that it is about; not valid: any
	Foreign bool       // it has chosen another server
}

// Read says what a packet of IPv4 asks for.
func Read(c dhcp.Client) Ask {
	address := c.Requested
	if c.Address.IsValid() {
		address = c.Address
	}
	chose, us := c.Chose()
	a := Ask{About: address, Foreign: chose && !us}
	switch c.Message {
	case dhcpv4.MessageTypeDiscover:
		return Ask{Want: Discovering, About: c.Requested}
	case dhcpv4.MessageTypeRequest:
		switch {
		case !address.IsValid():
		case chose:
			a.Want = Selecting
		case !c.Address.IsValid():
			a.Want = Rebooting
		case c.Direct():
			a.Want = Renewing
		default:
			a.Want = Rebinding
		}
	case dhcpv4.MessageTypeRelease:
		// Whoever does not have the address cannot give it back. By a relay nobody knows where it came from.
		if c.Address.IsValid() && (c.Gateway.IsValid() || c.Ingress.From.Addr() == c.Address) {
			a.Want, a.About = Releasing, c.Address
		}
	case dhcpv4.MessageTypeDecline:
		if c.Requested.IsValid() {
			a.Want, a.About = Declining, c.Requested
		}
	case dhcpv4.MessageTypeInform:
		if c.Address.IsValid() {
			a.Want, a.Foreign = Informing, false
		}
	}
	return a
}
