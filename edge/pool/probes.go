package pool

import (
	"net/netip"
	"sync"
	"time"
)

const (
	probeAgain = time.Minute      // an address that nobody used is not asked after again before
	badTime    = 10 * time.Minute // for which an address in use is left alone
	maxProbed  = 1 << 16
)

// probes are what was found out about addresses.
type probes struct {
	mu    sync.Mutex // guards what follows
	clean map[netip.Addr]time.Duration
	inUse map[netip.Addr]time.Duration
}

// due says whether an address is to be asked after now, or is known to be in use.
func (p *probes) due(a netip.Addr, now time.Duration) (ask, used bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.inUse[a]; ok && now-at < badTime {
		return false, true
	}
	if at, ok := p.clean[a]; ok && now-at < probeAgain {
		return false, false
	}
	return true, false
}

func (p *probes) good(a netip.Addr, now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clean == nil || len(p.clean) >= maxProbed {
		p.clean = map[netip.Addr]time.Duration{}
	}
	p.clean[a] = now
}

func (p *probes) bad(a netip.Addr, now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inUse == nil || len(p.inUse) >= maxProbed {
		p.inUse = map[netip.Addr]time.Duration{}
	}
	p.inUse[a] = now
	delete(p.clean, a)
}

func (p *probes) isBad(a netip.Addr, now time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.inUse[a]
	return ok && now-at < badTime
}

// forget drops what is too old to matter.
func (p *probes) forget(now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a, at := range p.clean {
		if now-at >= probeAgain {
			delete(p.clean, a)
		}
	}
	for a, at := range p.inUse {
		if now-at >= badTime {
			delete(p.inUse, a)
		}
	}
}
