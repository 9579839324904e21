package dhcp6

import (
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// associate answers for each association that a SOLICIT, REQUEST, RENEW or REBIND asks about. A machine has one address: it goes
// to the first that is for addresses.
func (c Client) associate(m *dhcpv6.Message, plan Plan) error {
	given, ours := false, false
	for _, ia := range c.IAs {
		var out []dhcpv6.Option
		var times [2]time.Duration
		switch {
		case ia.Code == dhcpv6.OptionIANA && !given && plan.Lease.Address.IsValid():
			given, ours = true, true
			if out = c.lease(ia, plan); out[0].Code() == dhcpv6.OptionIAAddr {
				times = plan.Lease.times()
			}
		case c.Message == dhcpv6.MessageTypeRebind && !plan.Authoritative && allOnLink(ia, plan):
			continue // another server may know it (RFC 8415 §18.3.5)
		default:
			ours = true
			out = c.refuse(ia, plan)
		}
		m.AddOption(association(ia, times, out))
	}
	if len(c.IAs) > 0 && !ours {
		return silent("it asks everyone to prolong an address that is not ours")
	}
	return nil
}

func allOnLink(ia IA, plan Plan) bool {
	return !slices.ContainsFunc(ia.Addresses, func(a netip.Addr) bool { return !plan.onLink(a) })
}

// times are T1 and T2.
func (l Lease) times() [2]time.Duration {
	if l.Renew > 0 && l.Renew <= l.Rebind && l.Rebind <= l.Preferred {
		return [2]time.Duration{l.Renew, l.Rebind}
	}
	return [2]time.Duration{l.Preferred / 2, l.Preferred / 5 * 4} // RFC 8415 §21.4
}

// lease gives the address, and takes others back that the client has (RFC 8415 §18.3.4).
func (c Client) lease(ia IA, plan Plan) []dhcpv6.Option {
	l := plan.Lease
	if c.Message == dhcpv6.MessageTypeRequest && !allOnLink(ia, plan) { // RFC 8415 §18.3.2
		return []dhcpv6.Option{status(iana.StatusNotOnLink, "the address is not of this link")}
	}
	out := []dhcpv6.Option{address(l.Address, l.Preferred, l.Valid)}
	if c.Message == dhcpv6.MessageTypeRenew || c.Message == dhcpv6.MessageTypeRebind {
		out = append(out, takenBack(ia, l.Address)...)
	}
	return out
}

// refuse says why an association gets nothing.
func (c Client) refuse(ia IA, plan Plan) []dhcpv6.Option {
	prolongs := c.Message == dhcpv6.MessageTypeRenew || c.Message == dhcpv6.MessageTypeRebind
	switch {
	case prolongs && len(ia.Addresses) > 0 && (plan.Revoke || !allOnLink(ia, plan)):
		return takenBack(ia, netip.Addr{})
	case prolongs:
		return []dhcpv6.Option{status(iana.StatusNoBinding, "nothing here is bound to it")}
	case c.Message == dhcpv6.MessageTypeRequest && ia.Code == dhcpv6.OptionIANA && !allOnLink(ia, plan): // RFC 8415 §18.3.2
		return []dhcpv6.Option{status(iana.StatusNotOnLink, "the address is not of this link")}
	case ia.Code == dhcpv6.OptionIAPD:
		return []dhcpv6.Option{status(iana.StatusNoPrefixAvail, "no prefixes are delegated here")}
	}
	why := plan.Why
	if why == "" {
		why = "there is no address for it; describe the machine with an address6"
	}
	return []dhcpv6.Option{status(iana.StatusNoAddrsAvail, why)}
}

// takenBack are the addresses of an association but one, with no time left.
func takenBack(ia IA, but netip.Addr) []dhcpv6.Option {
	var out []dhcpv6.Option
	for _, a := range ia.Addresses {
		if a != but {
			out = append(out, address(a, 0, 0))
		}
	}
	return out
}

// givenUp answers a RELEASE or a DECLINE (RFC 8415 §18.3.7, §18.3.8). Whoever keeps leases must not take an address for free
// because one association gives it up: EDK2 boots with one, its IP stack has the same address by another one of its own, and
// releases that in the middle of the boot.
func (c Client) givenUp(m *dhcpv6.Message, plan Plan) {
	m.AddOption(status(iana.StatusSuccess, "noted"))
	for _, ia := range c.IAs {
		if ia.Code == dhcpv6.OptionIANA && plan.Lease.Address.IsValid() && slices.Contains(ia.Addresses, plan.Lease.Address) {
			continue
		}
		m.AddOption(association(ia, [2]time.Duration{}, []dhcpv6.Option{status(iana.StatusNoBinding, "nothing here is bound to it")}))
	}
}

func address(a netip.Addr, preferred, valid time.Duration) dhcpv6.Option {
	return &dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice(), PreferredLifetime: preferred, ValidLifetime: valid}
}

// association is an IA of the kind that was asked about; times are T1 and T2.
func association(ia IA, times [2]time.Duration, options dhcpv6.Options) dhcpv6.Option {
	switch ia.Code {
	case dhcpv6.OptionIANA:
		return &dhcpv6.OptIANA{IaId: ia.ID, T1: times[0], T2: times[1], Options: dhcpv6.IdentityOptions{Options: options}}
	case dhcpv6.OptionIATA:
		return raw(ia.Code, append(ia.ID[:], options.ToBytes()...))
	}
	return raw(ia.Code, append(append(ia.ID[:], make([]byte, 8)...), options.ToBytes()...))
}
