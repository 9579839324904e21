package pool

import (
	"net/netip"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/replica"
	"github.com/kiln-farm/kiln/edge/pool/terms"
)

const (
	roomShare  = 32 // so much of an exhausted pool, and at least one address, is free when it has room again
	leastGrant = 4
	firstGrant = 32
	mostGrant  = 512
	mostStock  = 1000 // addresses lent at a time; the farm lends 1024
	rateOver   = 10 * time.Second

	offerTime  = 30 * time.Second
	offerLeast = 3 * time.Second // after which an offer may be given to another client when nothing else is left
)

// stock is a block of addresses that the farm has lent to this edge for the clients of a class.
type stock struct {
	subnet, class string
	size          int           // of the pools
	until         time.Duration // of the block
	lent          map[netip.Addr]bool
	free          []netip.Addr
	place         map[netip.Addr]int // in free

	next    time.Duration // when the farm may be asked again
	asking  chan struct{} // closed when the answer has come; nil: nobody asks
	failed  bool          // the farm did not answer
	taken   int           // since
	since   time.Duration
	rate    int // offers within rateOver
	claimed time.Duration
	keep    int           // free addresses that strangers do not get
	keepAll int           // at all edges together
	kept    time.Duration // when keep was found out
	extent  extent
}

func newStock(subnet, class string, size int) *stock {
	return &stock{subnet: subnet, class: class, size: size, lent: map[netip.Addr]bool{}, place: map[netip.Addr]int{}}
}

// lend takes what the farm lends: all that this edge has now.
func (s *stock) lend(addresses []netip.Addr, until time.Duration, usable func(netip.Addr) bool) {
	s.until = until
	s.lent, s.free, s.place = make(map[netip.Addr]bool, len(addresses)), s.free[:0], make(map[netip.Addr]int, len(addresses))
	for _, a := range addresses {
		s.lent[a] = true
		if usable(a) {
			s.put(a)
		}
	}
}

// expire forgets a block that has run out.
func (s *stock) expire(now time.Duration) {
	if len(s.lent) > 0 && now >= s.until {
		s.lend(nil, 0, nil)
	}
}

// put makes an address free to be offered, when it is of the block.
func (s *stock) put(a netip.Addr) {
	if _, ok := s.place[a]; ok || !s.lent[a] {
		return
	}
	s.place[a] = len(s.free)
	s.free = append(s.free, a)
}

// remove takes an address from those that are free.
func (s *stock) remove(a netip.Addr) bool {
	i, ok := s.place[a]
	if !ok {
		return false
	}
	last := len(s.free) - 1
	s.free[i] = s.free[last]
	s.place[s.free[i]] = i
	s.free = s.free[:last]
	delete(s.place, a)
	return true
}

// drop forgets an address: it is bound, or not to be given.
func (s *stock) drop(a netip.Addr) {
	s.remove(a)
	delete(s.lent, a)
}

// pick takes a free address for a client, the same one for the same client where that is possible. Strangers leave the last
// ones, whose number is kept, to machines that are described.
func (s *stock) pick(client string, asked netip.Addr, keep int) (netip.Addr, bool) {
	if len(s.free) <= keep {
		return netip.Addr{}, false
	}
	if s.remove(asked) {
		return asked, true
	}
	a := s.free[int(terms.Hash(client)%uint32(len(s.free)))]
	s.remove(a)
	return a, true
}

// count notes that somebody wanted an address.
func (s *stock) count(now time.Duration) {
	if now-s.since > rateOver {
		s.rate, s.taken, s.since = s.taken, 0, now
		if now-s.claimed > 2*rateOver {
			s.rate = 0
		}
	}
	s.taken++
	s.claimed = now
}

// wants is how many more addresses the farm is to be asked for now; -1: none, nor for more time.
func (s *stock) wants(now time.Duration) int {
	least := max(min(s.size/16, firstGrant), leastGrant)
	target := min(max(least, 2*max(s.rate, s.taken))+s.keep, mostGrant, mostStock-len(s.lent)+len(s.free))
	more := min(target-len(s.free), mostStock-len(s.lent))
	switch {
	case s.asking != nil || now < s.next:
		return -1
	case len(s.free) <= max(target/2, s.keep) && more > 0:
		return more
	case s.until-now < blockRest:
		return 0
	}
	return -1
}

const blockRest = 3 * time.Minute // before its end a block is asked for again, when somebody wants addresses

// pledge is an offer that a client may come for.
type pledge struct {
	tenant  replica.Tenant
	address netip.Addr
	stock   *stock // that the address is from; nil: the client's own of before
	known   bool
	made    time.Duration
}

// pledges are the offers of now. There are no more than addresses in blocks, and maxPledges.
type pledges struct {
	of    map[replica.Tenant]*pledge
	at    map[replica.Place]*pledge
	order []*pledge // as they were made; those that are gone are skipped
}

const maxPledges = 1 << 16

func newPledges() *pledges {
	return &pledges{of: map[replica.Tenant]*pledge{}, at: map[replica.Place]*pledge{}}
}

func (p *pledges) add(n *pledge) {
	if old := p.of[n.tenant]; old != nil && old.address == n.address {
		p.gone(old)
		if n.stock == nil {
			n.stock = old.stock
		}
	} else if old != nil {
		p.back(old)
	}
	p.of[n.tenant] = n
	p.at[replica.Place{Subnet: n.tenant.Subnet, Address: n.address}] = n
	p.order = append(p.order, n)
}

// gone forgets an offer; its address is free only when its caller says so.
func (p *pledges) gone(n *pledge) {
	if p.of[n.tenant] == n {
		delete(p.of, n.tenant)
	}
	if at := (replica.Place{Subnet: n.tenant.Subnet, Address: n.address}); p.at[at] == n {
		delete(p.at, at)
	}
}

// back makes an offer's address free again.
func (p *pledges) back(n *pledge) {
	if p.of[n.tenant] != n {
		return
	}
	p.gone(n)
	if n.stock != nil {
		n.stock.put(n.address)
	}
}

// expire takes back what nobody came for.
func (p *pledges) expire(now time.Duration) {
	for len(p.order) > 0 && (p.of[p.order[0].tenant] != p.order[0] || now-p.order[0].made >= offerTime || len(p.of) > maxPledges) {
		p.back(p.order[0])
		p.order = p.order[1:]
	}
}

// reclaim takes back the oldest offer of a stock to somebody who has had time to come for it, for a client that finds nothing
// else. A machine that is described goes before strangers. For a client that asks again any offer is taken back, so that a flood
// of those who never come for what they were offered keeps nobody else from an address: who comes first has it.
func (p *pledges) reclaim(s *stock, known, again bool, now time.Duration) bool {
	for i, n := range p.order {
		if p.of[n.tenant] != n || n.stock != s || n.known && !known {
			continue
		}
		if now-n.made < offerLeast && !again && !(known && !n.known) {
			return false
		}
		p.back(n)
		p.order = append(p.order[:i:i], p.order[i+1:]...)
		return true
	}
	return false
}

// extent is how much of the pools of a class nobody has, as far as this edge knows.
type extent struct {
	free    int // counted up to what it was counted for
	next    time.Duration
	full    bool // it was said last that they are exhausted
	said    time.Duration
	hadSaid bool
}

// least is how many addresses make room.
func (s *stock) least() int { return max(1, s.size/roomShare) }

// has says whether an address is free.
func (s *stock) has(a netip.Addr) bool { _, ok := s.place[a]; return ok }
