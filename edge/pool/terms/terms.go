package terms

import (
	"net/netip"
	"time"

	"github.com/kiln-farm/kiln/edge/dhcp6"
)

const (
	// LeastMargin is for how long at least a binding is committed beyond what its client is told.
	LeastMargin = time.Minute
	// LeastOffer is what remains at least of an address that is offered without the farm: a boot takes as long.
	LeastOffer = time.Minute
)

// Committed is for how long a binding is committed that a client is told to have for told.
func Committed(told time.Duration) time.Duration { return told + max(LeastMargin, told/20) }

// Tell is for how long a client may be told to have an address that is committed for left.
func Tell(wanted, left time.Duration) time.Duration {
	if left >= Committed(wanted) {
		return wanted
	}
	return min(wanted, left-LeastMargin)
}

// Renewal are the times after which a client asks for more (RFC 2131 §4.4.5). The first is spread, so that machines that were
// switched on together do not ask together ever after.
func Renewal(told time.Duration, client string) (t1, t2 time.Duration) {
	return told*9/20 + told/10/1024*time.Duration(Hash(client)>>22), told * 7 / 8
}

// Hash is FNV-1a: the same on every edge.
func Hash(text string) uint32 {
	sum := uint32(2166136261)
	for i := range len(text) {
		sum = (sum ^ uint32(text[i])) * 16777619
	}
	return sum
}

// Lease6 is an address for a time. New connections are not begun any more when three eighths of it are left. Who renews does so
// after about a third, and asks everyone after half: machines that were switched on together do not ask together ever after.
func Lease6(a netip.Addr, told time.Duration, client string) dhcp6.Lease {
	told = told.Round(time.Second)
	l := dhcp6.Lease{Address: a, Valid: told, Preferred: max((told * 5 / 8).Truncate(time.Second), time.Second)}
	l.Renew = l.Preferred*45/100 + l.Preferred/10/1024*time.Duration(Hash(client)>>22)
	l.Rebind = l.Preferred * 4 / 5
	return l
}
