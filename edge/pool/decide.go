package pool

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/subnets"
)

// action is what is to be done about a packet.
type action int

const (
	ignore   action = iota
	offer           // the step's address
	search          // for an address out of the block, and offer that
	bind            // the step's address, and then acknowledge it
	refuse          // with a NAK
	giveBack        // tell the farm that the client has no use for the address
	reject          // tell the farm that somebody else uses the address
	inform          // of everything but an address
)

// String is for tests and logs.
func (a action) String() string {
	return [...]string{"ignore", "offer", "search", "bind", "refuse", "give back", "reject", "inform"}[a]
}

// step is an action. Why is for the client with refuse, and for people with ignore.
type step struct {
	do      action
	address netip.Addr
	why     string
}

// facts are what is known when a packet comes.
type facts struct {
	own   netip.Addr // that the client has or had last in the subnet; not valid: none
	held  bool       // and it has it now
	free  bool       // nobody else is known to have own
	known bool       // the machine is described
	now   time.Duration
	heard time.Duration // when the binding of own changed last
	other bool          // and another edge has done that
}

// reorder is for how long packets may overtake each other: no client gives back what it has just got.
const reorder = 4 * time.Second

// decide says what is to be done about a packet in a subnet (RFC 2131 §4.3). The farm has the last word on what is to be bound.
func decide(a ask, s *subnets.Subnet, k *subnets.Class, f facts) step {
	if s.KnownOnly && !f.known {
		return step{do: ignore, why: "subnet " + s.Name + " is for machines that are described"}
	}
	if a.foreign {
		return step{do: ignore, why: "it has chosen another server"}
	}
	switch a.want {
	case discovering:
		switch {
		case f.held:
			return step{do: offer, address: f.own}
		case f.own.IsValid() && f.free && s.Given(f.own, k):
			return step{do: offer, address: f.own}
		}
		return step{do: search, address: a.address}
	case selecting, rebooting, renewing, rebinding:
		return decideRequest(a, s)
	case releasing, declining:
		if why := f.keeps(a.address == f.own && f.held, a.want == declining); why != "" {
			return step{do: ignore, why: why}
		}
		if a.want == releasing {
			return step{do: giveBack, address: a.address}
		}
		return step{do: reject, address: a.address}
	case informing:
		return step{do: inform}
	}
	return step{do: ignore, why: "it asks for nothing"}
}

// keeps is why nothing is done about an address that a client gives back, or has found in use; empty: it is done. has says that the
// address is the client's.
func (f facts) keeps(has, declines bool) string {
	switch {
	case !has:
		return "it does not have the address"
	case f.now-f.heard < reorder && !declines:
		return "it has got the address just now: the packet is older"
	case f.other && declines:
		// What it declined it had from here, before it came to have it from the other. If it means that, too, it asks anew, has it from
		// one edge only, and declines that.
		return "it has got the address from another edge since"
	}
	return ""
}

// decideRequest spares the farm nothing but what is of another network: what this edge knows otherwise may be old.
func decideRequest(a ask, s *subnets.Subnet) step {
	if !s.Prefix.Contains(a.address) {
		return step{do: refuse, why: fmt.Sprintf("%s is not of this network", a.address)}
	}
	return step{do: bind, address: a.address}
}

const (
	leastMargin = time.Minute
	leastOffer  = time.Minute // that remains of an address which is offered without the farm: a boot takes as long
)

// committed is for how long a binding is committed that a client is told to have for told.
func committed(told time.Duration) time.Duration { return told + max(leastMargin, told/20) }

// tell is for how long a client may be told to have an address that is committed for left.
func tell(wanted, left time.Duration) time.Duration {
	if left >= committed(wanted) {
		return wanted
	}
	return min(wanted, left-leastMargin)
}

// renewal are the times after which a client asks for more (RFC 2131 §4.4.5). The first is spread, so that machines that were
// switched on together do not ask together ever after.
func renewal(told time.Duration, client string) (t1, t2 time.Duration) {
	return told*9/20 + told/10/1024*time.Duration(hash(client)>>22), told * 7 / 8
}

// hash is FNV-1a: the same on every edge.
func hash(text string) uint32 {
	sum := uint32(2166136261)
	for i := range len(text) {
		sum = (sum ^ uint32(text[i])) * 16777619
	}
	return sum
}
