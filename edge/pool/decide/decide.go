package decide

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/subnets"
)

// Action is what is to be done about a packet.
type Action int

// The actions.
const (
	Ignore   Action = iota
	Offer           // the step's address
	Search          // for an address out of the block, and offer that
	Bind            // the step's address, and then acknowledge it
	Refuse          // with a NAK
	GiveBack        // tell the farm that the client has no use for the address
	Reject          // tell the farm that somebody else uses the address
	Inform          // of everything but an address
)

// String is for tests and logs.
func (a Action) String() string {
	return [...]string{"ignore", "offer", "search", "bind", "refuse", "give back", "reject", "inform"}[a]
}

// Step is an action. Why is for the client with refuse, and for people with ignore.
type Step struct {
	Do      Action
	Address netip.Addr
	Why     string
}

// Facts are what is known when a packet comes.
type Facts struct {
	Own   netip.Addr // that the client has or had last in the subnet; not valid: none
	Held  bool       // and it has it now
	Free  bool       // nobody else is known to have own
	Known bool       // the machine is described
	Now   time.Duration
	Heard time.Duration // when the binding of own changed last
	Other bool          // and another edge has done that
}

// Reorder is for how long packets may overtake each other: no client gives back what it has just got.
const Reorder = 4 * time.Second

// Decide says what is to be done about a packet in a subnet (RFC 2131 §4.3). The farm has the last word on what is to be bound.
func Decide(a Ask, s *subnets.Subnet, k *subnets.Class, f Facts) Step {
	if s.KnownOnly && !f.Known {
		return Step{Do: Ignore, Why: "subnet " + s.Name + " is for machines that are described"}
	}
	if a.Foreign {
		return Step{Do: Ignore, Why: "it has chosen another server"}
	}
	switch a.Want {
	case Discovering:
		switch {
		case f.Held:
			return Step{Do: Offer, Address: f.Own}
		case f.Own.IsValid() && f.Free && s.Given(f.Own, k):
			return Step{Do: Offer, Address: f.Own}
		}
		return Step{Do: Search, Address: a.About}
	case Selecting, Rebooting, Renewing, Rebinding:
		return decideRequest(a, s)
	case Releasing, Declining:
		if why := f.Keeps(a.About == f.Own && f.Held, a.Want == Declining); why != "" {
			return Step{Do: Ignore, Why: why}
		}
		if a.Want == Releasing {
			return Step{Do: GiveBack, Address: a.About}
		}
		return Step{Do: Reject, Address: a.About}
	case Informing:
		return Step{Do: Inform}
	}
	return Step{Do: Ignore, Why: "it asks for nothing"}
}

// Keeps is why nothing is done about an address that a client gives back, or has found in use; empty: it is done. has says that the
// address is the client's.
func (f Facts) Keeps(has, declines bool) string {
	switch {
	case !has:
		return "it does not have the address"
	case f.Now-f.Heard < Reorder && !declines:
		return "it has got the address just now: the packet is older"
	case f.Other && declines:
		// What it declined it had from here, before it came to have it from the other. If it means that, too, it asks anew, has it from
		// one edge only, and declines that.
		return "it has got the address from another edge since"
	}
	return ""
}

// decideRequest spares the farm nothing but what is of another network: what this edge knows otherwise may be old.
func decideRequest(a Ask, s *subnets.Subnet) Step {
	if !s.Prefix.Contains(a.About) {
		return Step{Do: Refuse, Why: fmt.Sprintf("%s is not of this network", a.About)}
	}
	return Step{Do: Bind, Address: a.About}
}
