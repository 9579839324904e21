package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/subnets"
	"github.com/kiln-farm/kiln/internal/seldom"
)

const (
	countEvery = 5 * time.Second // how often the free addresses of a pool are counted, while somebody finds none
	countShare = 50              // counting takes at most one part in so many of the time
)

// none notes that a client found no address, and returns what it is told. A pool is exhausted when nobody else could have got
// one either: addresses that were offered to machines which do not come for them, or were lent to other edges, are free.
func (p *Pool) none(q who, s *subnets.Subnet, st *stock) (why string) {
	p.mu.Lock()
	now := p.now()
	p.count(s, st, now)
	free, keep := st.extent.free, 0
	if q.machine == nil {
		keep = st.keepAll
	}
	full := free <= keep
	say := full && !st.extent.full && (!st.extent.hadSaid || now-st.extent.said >= seldom.Every)
	if say {
		st.extent.full, st.extent.said, st.extent.hadSaid = true, now, true
	}
	p.mu.Unlock()
	if !full {
		counted(crowded, "subnet", s.Name)
		p.sayOnce("crowded "+s.Name+" "+st.class, func() {
			p.cfg.Log.Warn("free addresses of a pool are all offered to machines that have not come for them yet, or lent to other edges", "subnet", s.Name, "class", st.class, "mac", q.mac)
		})
		return "all free addresses are offered to others now"
	}
	counted(exhausted, "subnet", s.Name)
	if say {
		p.sayExhausted(q, s.Name, st.class, free)
	}
	return "there is no free address"
}

// noneOf6 notes the same of a pool of IPv6, which ends by a limit of its own or is small on purpose: nobody counts what is free.
func (p *Pool) noneOf6(q who, s *subnets.Subnet, class string) {
	counted(exhausted, "subnet", s.Name)
	p.sayOnce("exhausted "+s.Name+" "+class, func() { p.sayExhausted(q, s.Name, class, 0) })
}

func (p *Pool) sayExhausted(q who, subnet, class string, left int) {
	p.cfg.Log.Error("a pool is exhausted", "subnet", subnet, "class", class, "client", q.client, "left to machines that are described", left)
	p.cfg.Tell(q.mac, fmt.Sprintf("no address is free in %s: make its pools larger, or its lease times shorter (kiln leases lists who has them)", poolName(subnet, class)))
}

// relieve says of pools that were exhausted that they have room again, until ctx ends.
func (p *Pool) relieve(ctx context.Context) {
	ticker := time.NewTicker(countEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.look()
		case <-ctx.Done():
			return
		}
	}
}

func (p *Pool) look() {
	book, now := p.book.Load(), p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, st := range p.stocks {
		s := book.ByName[key.subnet]
		if !st.extent.full || s == nil || now-st.extent.said < seldom.Every {
			continue
		}
		p.reckon(st, now)
		p.count(s, st, now)
		if st.extent.free < st.keepAll+st.least() {
			continue
		}
		st.extent.full, st.extent.said = false, now
		p.cfg.Log.Info("a pool that was exhausted has room again", "subnet", key.subnet, "class", key.class)
	}
}

// count counts the free addresses of a class's pools, and no more than matter.
func (p *Pool) count(s *subnets.Subnet, st *stock, now time.Duration) {
	e := &st.extent
	if now < e.next {
		return
	}
	begun := time.Now()
	e.free = 0
	enough, fixed := st.keepAll+st.least(), p.book.Load().Fixed
	for _, pool := range s.PoolsOf(st.class) {
		for a := pool.From; a.IsValid() && pool.Has(a) && e.free < enough; a = a.Next() {
			if !subnets.In(s.Exclude, a) && a != s.Lease.Router && !s.Edges(a) && !fixed[a] && !p.replica.Get(s.Name, a).Holds(now) && !p.probes.isBad(a) {
				e.free++
			}
		}
	}
	e.next = now + max(countEvery, countShare*time.Since(begun))
}

func poolName(subnet, class string) string {
	if class == "" {
		return "subnet " + subnet
	}
	return "subnet " + subnet + " for the class " + class
}
