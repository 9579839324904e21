package pool

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/edge/dhcp"
)

// want is what a client is about (RFC 2131 §4.3.2 tells the REQUESTs apart).
type want int

const (
	nothing     want = iota
	discovering      // DISCOVER
	selecting        // REQUEST of an offer
	rebooting        // REQUEST of the address that it had before it started anew (INIT-REBOOT)
	renewing         // REQUEST to us alone for more time (RENEWING)
	rebinding        // REQUEST to everybody for more time (REBINDING)
	releasing
	declining
	informing
)

// ask is what a packet asks for.
type ask struct {
	want    want
	address netip.Addr // that it is about; not valid: any
	foreign bool       // it has chosen another server
}

func read(c dhcp.Client) ask {
	address := c.Requested
	if c.Address.IsValid() {
		address = c.Address
	}
	chose, us := c.Chose()
	a := ask{address: address, foreign: chose && !us}
	switch c.Message {
	case dhcpv4.MessageTypeDiscover:
		return ask{want: discovering, address: c.Requested}
	case dhcpv4.MessageTypeRequest:
		switch {
		case !address.IsValid():
		case chose:
			a.want = selecting
		case !c.Address.IsValid():
			a.want = rebooting
		case c.Direct():
			a.want = renewing
		default:
			a.want = rebinding
		}
	case dhcpv4.MessageTypeRelease:
		// Whoever does not have the address cannot give it back. By a relay nobody knows where it came from.
		if c.Address.IsValid() && (c.Gateway.IsValid() || c.Ingress.From.Addr() == c.Address) {
			a.want, a.address = releasing, c.Address
		}
	case dhcpv4.MessageTypeDecline:
		if c.Requested.IsValid() {
			a.want, a.address = declining, c.Requested
		}
	case dhcpv4.MessageTypeInform:
		if c.Address.IsValid() {
			a.want, a.foreign = informing, false
		}
	}
	return a
}

// clientOf names a client for the farm: by its hardware address, whatever option 61 says.
func clientOf(mac string) string { return "mac " + mac }
