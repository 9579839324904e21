package decide

import (
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp6"
)

// Ask6 is what a packet of IPv6 asks for.
type Ask6 struct {
	Want  Want
	Lease bool         // an address, and not only options
	Rapid bool         // it would have the address with the first answer
	Asked []netip.Addr // addresses that it names
}

// Read6 is read for IPv6 (RFC 8415 §18.2): a Solicit is a client's DISCOVER, and who renews says so to one server or to all.
func Read6(c dhcp6.Client) Ask6 {
	a := Ask6{Asked: c.Asked(), Rapid: c.Rapid, Lease: slices.ContainsFunc(c.IAs, func(ia dhcp6.IA) bool { return ia.Code == dhcpv6.OptionIANA })}
	switch c.Message {
	case dhcpv6.MessageTypeSolicit:
		a.Want = Discovering
	case dhcpv6.MessageTypeRequest:
		a.Want = Selecting
	case dhcpv6.MessageTypeRenew:
		a.Want = Renewing
	case dhcpv6.MessageTypeRebind:
		a.Want = Rebinding
	case dhcpv6.MessageTypeRelease:
		a.Want = Releasing
	case dhcpv6.MessageTypeDecline:
		a.Want = Declining
	default:
		a.Want = Informing
	}
	return a
}

// Facts6 are what is known when a packet of IPv6 comes.
type Facts6 struct {
	Prefix netip.Prefix   // of the first subnet
	OnLink []netip.Prefix // networks of the link
	Bound  bool           // the client has an address in one of the subnets
	Quick  bool           // this edge may bind with its first answer
	Away   bool           // the farm binds nothing now
}

// Decide6 says what is to be done about a packet in subnets with pools. What is to be bound without an address is any that the client
// may have.
func Decide6(a Ask6, f Facts6) Step {
	switch a.Want {
	case Discovering:
		switch {
		case !a.Lease:
			return Step{Do: Inform}
		case a.Rapid && f.Quick:
			return Step{Do: Bind}
		case f.Away:
			return Step{Do: Ignore, Why: "the farm is away"}
		}
		return Step{Do: Search}
	case Selecting:
		for _, one := range a.Asked {
			if !slices.ContainsFunc(f.OnLink, func(n netip.Prefix) bool { return n.Contains(one) }) {
				return Step{Do: Inform} // it is told that this is another link
			}
		}
		return Step{Do: Bind}
	case Renewing, Rebinding:
		at := slices.IndexFunc(a.Asked, f.Prefix.Contains)
		switch {
		case at >= 0:
			return Step{Do: Bind, Address: a.Asked[at]}
		case len(a.Asked) == 0 && f.Bound:
			return Step{Do: Bind}
		}
		return Step{Do: Inform} // no binding, or no address of this link
	case Releasing:
		return Step{Do: GiveBack}
	case Declining:
		return Step{Do: Reject}
	}
	return Step{Do: Inform}
}
