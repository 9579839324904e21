package pool

import (
	"net/netip"
	"time"

	"github.com/kiln-farm/kiln/internal/recent"
)

const (
	probeAgain = time.Minute      // an address that nobody used is not asked after again before
	badTime    = 10 * time.Minute // for which an address in use is left alone
	maxProbed  = 1 << 16
)

// probes are what was found out about addresses.
type probes struct {
	clean, inUse *recent.Memory[netip.Addr, struct{}]
}

func newProbes(now func() time.Time) probes {
	return probes{recent.New[netip.Addr, struct{}](maxProbed, probeAgain, now), recent.New[netip.Addr, struct{}](maxProbed, badTime, now)}
}

// due says whether an address is to be asked after now, or is known to be in use.
func (p probes) due(a netip.Addr) (ask, used bool) {
	if p.isBad(a) {
		return false, true
	}
	_, clean := p.clean.Get(a)
	return !clean, false
}

func (p probes) good(a netip.Addr) { p.clean.Put(a, struct{}{}, 1) }

func (p probes) bad(a netip.Addr) {
	p.inUse.Put(a, struct{}{}, 1)
	p.clean.Forget(a)
}

func (p probes) isBad(a netip.Addr) bool {
	_, bad := p.inUse.Get(a)
	return bad
}
