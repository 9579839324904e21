package pool

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/replica"
	"github.com/kiln-farm/kiln/edge/pool/subnets"
)

const (
	grantTime  = 1200 * time.Millisecond // of one call
	grantPause = time.Second             // after one that brought nothing
	grantWait  = 2 * time.Second         // that a client's packet waits for one
	tries      = 3                       // addresses that are asked after for one packet
)

// offerNew offers an address out of the block of a class, and when there is none, of the next subnet of the segment.
func (p *Pool) offerNew(ctx context.Context, q question, s *subnets.Subnet, k *subnets.Class, asked netip.Addr, where []*subnets.Subnet) Answer {
	why := ""
	for _, n := range append([]*subnets.Subnet{s}, where...) {
		if n != s {
			k = n.ClassOf(q.Client, q.machine.GetLabels())
			if n.KnownOnly && q.machine == nil {
				continue
			}
		} else if why != "" {
			continue // it was the first
		}
		for range tries {
			st, address, reason := p.reserve(ctx, q, n, k, asked)
			if why = reason; reason != "" {
				break
			}
			if !p.used(ctx, q, n, address) {
				return p.give(q, n, k, address, n.Time(q.Client, k))
			}
			p.mu.Lock()
			if o := p.pledges.of[replica.Tenant{Subnet: n.Name, Client: q.client}]; o != nil && o.address == address {
				p.pledges.gone(o)
			}
			st.remove(address) // it stays lent, so that no other edge tries it
			p.mu.Unlock()
			why = "addresses that should be free are in use"
		}
	}
	return Answer{Mine: true, Later: true, Why: why}
}

// reserve takes an address for a client out of the block, which is filled when there is none. Reason says why there is none.
func (p *Pool) reserve(ctx context.Context, q question, s *subnets.Subnet, k *subnets.Class, asked netip.Addr) (from *stock, address netip.Addr, reason string) {
	wait, cancel := context.WithTimeout(ctx, grantWait)
	defer cancel()
	name, size := s.StockOf(k)
	known, again := q.machine != nil, q.Waited() > 0 || p.gate.asked(q.mac)
	for first := true; ; first = false {
		p.mu.Lock()
		st := p.stock(s.Name, name, size)
		now := p.now()
		p.pledges.expire(now)
		st.expire(now)
		if first {
			st.count(now)
		}
		p.reckon(st, now)
		p.refill(st, now)
		if o := p.pledges.of[replica.Tenant{Subnet: s.Name, Client: q.client}]; o != nil && o.stock == st && st.lent[o.address] && (!st.has(asked) || o.address == asked) {
			o.made = now // it asks again
			p.mu.Unlock()
			return st, o.address, ""
		}
		keep := 0
		if !known {
			keep = st.keep
		}
		address, ok := st.pick(q.client, asked, keep)
		for range keep + 1 {
			if !ok && st.asking == nil && p.pledges.reclaim(st, known, again, now) {
				address, ok = st.pick(q.client, asked, keep)
			}
		}
		if ok {
			p.pledges.add(&pledge{tenant: replica.Tenant{Subnet: s.Name, Client: q.client}, address: address, stock: st, known: known, made: now})
			p.mu.Unlock()
			return st, address, ""
		}
		asking, failed := st.asking, st.failed
		p.mu.Unlock()
		if asking == nil {
			if failed {
				p.sayAway(q.who)
				return nil, address, "the farm lends no addresses now"
			}
			return nil, address, p.none(q.who, s, st)
		}
		select {
		case <-asking:
		case <-wait.Done():
			p.sayAway(q.who)
			return nil, address, "the farm lends no addresses now"
		}
	}
}

const (
	mostKept  = 32 // addresses of a block that strangers do not get
	keepEvery = 5 * time.Second
)

// reckon finds out how many machines that are described may still come for an address: strangers, who may be one with many
// forged hardware addresses, leave as many to them, up to a fourth of the pool at all edges together. A machine that has an address
// in any subnet needs none here.
func (p *Pool) reckon(st *stock, now time.Duration) {
	if st.kept != 0 && now-st.kept < keepEvery {
		return
	}
	st.kept, st.keep, st.keepAll = now, 0, 0
	edges := 1
	if p.cfg.Edges != nil {
		edges = max(1, p.cfg.Edges())
	}
	most := min(mostKept, st.size/4)
	if most > 0 {
		most = max(1, most/edges)
	}
	floating := p.book.Load().Floating
	if len(floating) == 0 || most == 0 {
		return
	}
	p.census(now)
	for _, macs := range floating {
		if st.keep >= most {
			break
		}
		if !slices.ContainsFunc(macs, func(mac string) bool { return p.housed.of[clientOf(mac)] }) {
			st.keep++
		}
	}
	st.keepAll = st.keep * edges
}

// housed are the clients that have an address in any subnet.
type housed struct {
	of   map[string]bool
	next time.Duration
}

// census finds out who has an address, now and then.
func (p *Pool) census(now time.Duration) {
	if now < p.housed.next {
		return
	}
	begun := time.Now()
	p.housed.of = map[string]bool{}
	for at := range p.replica.Of {
		if _, r := p.replica.Own(at.Subnet, at.Client); r.Holds(now) {
			p.housed.of[at.Client] = true
		}
	}
	p.housed.next = now + max(keepEvery, countShare*time.Since(begun))
}

// stock is the block of a class.
func (p *Pool) stock(subnet, class string, size int) *stock {
	key := stockKey{subnet, class}
	st := p.stocks[key]
	if st == nil {
		st = newStock(subnet, class, size)
		p.stocks[key] = st
	}
	st.size = size
	return st
}

// refill asks the farm for more addresses, beside all else, when there are few.
func (p *Pool) refill(st *stock, now time.Duration) {
	want := st.wants(now)
	if want < 0 || p.commits.IsAway() && now < st.next {
		return
	}
	done := make(chan struct{})
	st.asking = done
	p.grants.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), grantTime)
		defer cancel()
		addresses, life, err := p.cfg.Farm.Grant(ctx, st.subnet, st.class, uint32(want))
		p.mu.Lock()
		defer p.mu.Unlock()
		defer close(done)
		st.asking = nil
		if p.stocks[stockKey{st.subnet, st.class}] != st {
			return
		}
		if st.failed = err != nil; err != nil {
			st.next = p.now() + grantPause
			p.sayOnce("grant "+st.subnet, func() { p.cfg.Log.Warn("the farm lends no addresses now", "subnet", st.subnet, "error", err) })
			return
		}
		was, at := len(st.free), p.now()
		st.lend(addresses, now+life, func(a netip.Addr) bool { return p.usable(st.subnet, a, at) })
		if want == 0 || len(st.free) < was+want { // that is all there is
			st.next = p.now() + grantPause
		}
	})
}

// usable says whether an address that was lent may be offered.
func (p *Pool) usable(subnet string, a netip.Addr, now time.Duration) bool {
	s := p.book.Load().ByName[subnet]
	return s != nil && s.Ever(a) && a != s.Lease.Router && !s.Edges(a) && p.pledges.at[replica.Place{Subnet: subnet, Address: a}] == nil && !p.replica.Get(subnet, a).Holds(now) && !p.book.Load().Fixed[a] && !p.probes.isBad(a)
}

// used says whether somebody uses an address that should be free.
func (p *Pool) used(ctx context.Context, q question, s *subnets.Subnet, a netip.Addr) bool {
	if slices.ContainsFunc(q.Own, func(own netip.Prefix) bool { return own.Addr() == a }) { // no probe finds our own
		p.probes.bad(a)
		return true
	}
	if p.cfg.Prober == nil {
		return false
	}
	ask, now := p.probes.due(a)
	switch {
	case now:
		return true
	case !ask:
		return false
	}
	if !p.cfg.Prober.Used(ctx, a, q.Ingress.Interface, q.Gateway.IsValid()) {
		p.probes.good(a)
		return false
	}
	p.probes.bad(a)
	conflicts.Add(ctx, 1)
	what := fmt.Sprintf("%s of subnet %s should be free, and somebody uses it; it is left alone for %s. Exclude it from the pool, or find out whose it is", a, s.Name, badTime)
	p.cfg.Log.Warn("a free address is in use", "address", a, "subnet", s.Name)
	p.cfg.Tell(q.mac, what)
	return true
}
