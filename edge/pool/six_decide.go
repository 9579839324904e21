package pool

import (
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp6"
)

// ask6 is what a packet of IPv6 asks for.
type ask6 struct {
	want  want
	lease bool         // an address, and not only options
	rapid bool         // it would have the address with the first answer
	asked []netip.Addr // addresses that it names
}

// read6 is read for IPv6 (RFC 8415 §18.2): a Solicit is a client's DISCOVER, and who renews says so to one server or to all.
func read6(c dhcp6.Client) ask6 {
	a := ask6{asked: c.Asked(), rapid: c.Rapid, lease: slices.ContainsFunc(c.IAs, func(ia dhcp6.IA) bool { return ia.Code == dhcpv6.OptionIANA })}
	switch c.Message {
	case dhcpv6.MessageTypeSolicit:
		a.want = discovering
	case dhcpv6.MessageTypeRequest:
		a.want = selecting
	case dhcpv6.MessageTypeRenew:
		a.want = renewing
	case dhcpv6.MessageTypeRebind:
		a.want = rebinding
	case dhcpv6.MessageTypeRelease:
		a.want = releasing
	case dhcpv6.MessageTypeDecline:
		a.want = declining
	default:
		a.want = informing
	}
	return a
}

// facts6 are what is known when a packet of IPv6 comes.
type facts6 struct {
	prefix netip.Prefix   // of the first subnet
	onLink []netip.Prefix // networks of the link
	bound  bool           // the client has an address in one of the subnets
	quick  bool           // this edge may bind with its first answer
	away   bool           // the farm binds nothing now
}

// decide6 says what is to be done about a packet in subnets with pools. What is to be bound without an address is any that the client
// may have.
func decide6(a ask6, f facts6) step {
	switch a.want {
	case discovering:
		switch {
		case !a.lease:
			return step{do: inform}
		case a.rapid && f.quick:
			return step{do: bind}
		case f.away:
			return step{do: ignore, why: "the farm is away"}
		}
		return step{do: search}
	case selecting:
		for _, one := range a.asked {
			if !slices.ContainsFunc(f.onLink, func(n netip.Prefix) bool { return n.Contains(one) }) {
				return step{do: inform} // it is told that this is another link
			}
		}
		return step{do: bind}
	case renewing, rebinding:
		at := slices.IndexFunc(a.asked, f.prefix.Contains)
		switch {
		case at >= 0:
			return step{do: bind, address: a.asked[at]}
		case len(a.asked) == 0 && f.bound:
			return step{do: bind}
		}
		return step{do: inform} // no binding, or no address of this link
	case releasing:
		return step{do: giveBack}
	case declining:
		return step{do: reject}
	}
	return step{do: inform}
}
