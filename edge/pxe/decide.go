package pxe

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/edge/pool"
	"github.com/kiln-farm/kiln/fleet"
)

// action is what is to be done about the address of a client.
type action int

const (
	silent   action = iota // another edge answers, or there is nothing to say
	later                  // this edge answers after a wait, if the client has chosen nobody by then
	fixed                  // the machine gets its own address
	fromPool               // the pool says what it gets
	noLease                // nothing of an address: only what to boot
)

// String is for tests.
func (a action) String() string {
	return [...]string{"silent", "later", "fixed", "from a pool", "no lease"}[a]
}

// step is an action. Why is what people are told of it; empty: nothing.
type step struct {
	do  action
	why string
}

// turn is when this edge answers a client.
type turn struct {
	wait   time.Duration
	answer bool // at all, now
}

// facts are what is known of a client when its packet comes. What is said of a fixed address is looked up when it is this edge's turn.
type facts struct {
	boot  *fleet.Boot // nil: nobody described it
	err   error       // why it has nothing to boot
	turn  turn
	pools bool // this edge gives addresses of pools

	address netip.Addr // its fixed one; not valid: it has none, or this edge gives none
	fits    bool       // it is of the network where the client is
	holder  string     // another client that still has it; empty: none
}

// decide says what is to be done about the address of a client of IPv4.
func decide(c dhcp.Client, f facts) step {
	switch {
	case f.boot == nil && (!f.pools || !f.turn.answer):
		return step{silent, fmt.Sprint(f.err)}
	case f.boot != nil && !f.turn.answer && c.Message == dhcpv4.MessageTypeDiscover:
		return step{do: silent}
	case f.turn.wait > 0:
		return step{do: later}
	case f.boot == nil:
		return step{do: fromPool}
	}
	s := step{do: noLease, why: f.stillBound()}
	switch {
	case f.address.IsValid() && f.fits && f.holder == "":
		s.do = fixed
	case f.pools && f.turn.answer:
		s.do = fromPool
	}
	return s
}

// stillBound is why a machine does not get its fixed address yet.
func (f facts) stillBound() string {
	if !f.address.IsValid() || !f.fits || f.holder == "" {
		return ""
	}
	return fmt.Sprintf("its fixed address %s is still bound to %s; it gets another one until that has run out", f.address, f.holder)
}

// pooled is what the answer of a pool means for a client; false when it says nothing of an address, and another server may.
func pooled(c dhcp.Client, boot *fleet.Boot, a pool.Answer) (plan dhcp.Plan, said bool) {
	if !a.Mine || !a.Give && a.Refuse == "" {
		return dhcp.Plan{}, a.Later || a.Mine && boot == nil && c.Kind == dhcp.Plain
	}
	return dhcp.Plan{Mode: dhcp.Full, Lease: a.Lease, Authoritative: true, Options: a.Options, Refuse: a.Refuse}, true
}

// withBoot adds to a plan what the client boots. failed is why it boots nothing.
func (p Programs) withBoot(c dhcp.Client, f facts, plan dhcp.Plan) (_ dhcp.Plan, failed error) {
	if plan.Refuse != "" {
		return plan, nil
	}
	if c.Kind != dhcp.Plain && !f.boot.LocalDisk {
		if failed = f.err; failed == nil {
			plan.Boot.File, failed = p.bootFile(c, f.boot)
		}
	}
	if plan.Mode == dhcp.Proxy && plan.Boot.File == "" {
		return dhcp.Plan{}, failed
	}
	return plan, failed
}

// facts6 are what is known of a client of IPv6 when its packet comes.
type facts6 struct {
	boot       *fleet.Boot // nil: nobody described it
	err        error       // why it has nothing to boot
	turn       turn
	preference uint8 // that this edge tells
	full       bool  // this edge gives addresses
	pools      bool  // also of pools
	address    netip.Prefix
	addressErr error  // the machine has no fixed address, or none that can be read
	fits       bool   // it is of the network where the client is
	holder     string // another client that still has it; empty: none
}

// decide6 says what is to be done about the address of a client of IPv6.
func decide6(c dhcp6.Client, f facts6) step {
	switch {
	case f.boot == nil && !f.turn.answer:
		s := step{do: silent}
		if !f.pools || c.Kind != dhcp.Plain {
			s.why = fmt.Sprint(f.err)
		}
		return s
	case f.boot == nil && !f.pools:
		return step{silent, fmt.Sprint(f.err)}
	case f.boot == nil:
		return step{do: fromPool}
	case !f.turn.answer:
		return step{do: silent}
	case !f.full:
		return step{do: noLease}
	case f.pools && (f.addressErr != nil || !f.fits || f.elsewhere(c)):
		return step{do: fromPool}
	case f.pools && f.holder != "":
		return step{fromPool, fmt.Sprintf("its fixed address %s is still bound to %s; it gets another one until that has run out", f.address.Addr(), f.holder)}
	}
	return f.own(c)
}

// own is decided where a machine gets its fixed address or none.
func (f facts6) own(c dhcp6.Client) step {
	s := step{do: noLease}
	switch asks := c.Message == dhcpv6.MessageTypeSolicit; {
	case f.addressErr == nil && !f.elsewhere(c):
		s.do = fixed
	case !asks:
	case f.addressErr == nil:
		s.why = fmt.Sprintf("its address6 %s is not of the link of %s, where it is now; correct one of them", f.address, c.Link)
	case f.boot.Machine.GetAddress6() == "":
		s.why = "it asks for an IPv6 address and is described with none; give it an address6"
	}
	return s
}

// elsewhere says whether the fixed address is known to be of another link.
func (f facts6) elsewhere(c dhcp6.Client) bool {
	return c.Relayed && c.Link.IsValid() && !f.address.Contains(c.Link)
}
