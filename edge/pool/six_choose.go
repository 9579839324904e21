package pool

import (
	"math/big"
	"net/netip"
	"slices"
	"time"

	"github.com/kiln-farm/kiln/edge/pool/replica"
	"github.com/kiln-farm/kiln/edge/pool/subnets"
)

const (
	// strangersOf is how many bindings of a subnet there may be when strangers still get new ones: a subnet of IPv6 may have
	// 65536 (coordinator/state), and who makes hardware addresses up must leave some to machines that are described.
	strangersOf = 3 << 14
	emptyFor    = time.Second // for which a pool is not searched again that had no free address
)

// shelf is what is known of how full the pools of a class are.
type shelf struct {
	empty time.Duration // until when nobody searches
	kept  time.Duration // when keep was found out
	keep  int           // addresses that strangers do not get
	free  int           // that there were then; of small pools
}

// candidate is the address to try for a client: the one that it has or had, the one that it wishes, or the first free one in an
// order of its own, the same on every edge. The caller holds p.mu.
func (p *Pool) candidate(q question6, s *subnets.Subnet, k *subnets.Class, tried map[netip.Addr]bool) (netip.Addr, bool) {
	b, now := p.book.Load(), p.now()
	own, r := p.replica.Own(s.Name, q.client)
	if r.Client == q.client && r.Holds(now) && !tried[own] && !b.ReservedFor(own, q.mac) {
		return own, true
	}
	free := func(a netip.Addr) bool {
		return !tried[a] && p.free6(b, q, s, a, now)
	}
	if own.IsValid() && r.Client == q.client && s.Given(own, k) && free(own) {
		return own, true
	}
	name, room := s.RoomOf(k)
	h := p.shelf(q, s, name, room, now)
	if q.machine == nil && (p.replica.Count[s.Name] >= strangersOf || h.keep > 0 && h.free <= h.keep) {
		return netip.Addr{}, false
	}
	for _, a := range q.Asked() {
		if s.Prefix.Contains(a) && s.Given(a, k) && free(a) {
			return a, true
		}
	}
	if now < h.empty {
		return netip.Addr{}, false
	}
	var found netip.Addr
	room.Each(b.Key, s.Name, q.client, func(a netip.Addr) bool {
		if free(a) {
			found = a
		}
		return !found.IsValid()
	})
	if !found.IsValid() && len(tried) == 0 {
		h.empty = now + emptyFor
	}
	return found, found.IsValid()
}

// free6 says whether a client may try an address.
func (p *Pool) free6(b *subnets.Book, q question6, s *subnets.Subnet, a netip.Addr, now time.Duration) bool {
	r := p.replica.Get(s.Name, a)
	return !(r.Client != q.client && r.Holds(now)) && !b.ReservedFor(a, q.mac) && p.binding6[replica.Place{Subnet: s.Name, Address: a}] == 0 &&
		!s.Unfit(a) && a != s.Lease.Router && !slices.Contains(q.link.Own, a) && !p.probes.isBad(a)
}

// shelf is what is known of a class's pools, which is found out from time to time. Machines that are described and have no
// address now leave strangers fewer, up to a fourth of a pool.
func (p *Pool) shelf(q question6, s *subnets.Subnet, class string, room subnets.Reach, now time.Duration) *shelf {
	key := stockKey{s.Name, class}
	h := p.shelves[key]
	if h == nil {
		h = &shelf{}
		p.shelves[key] = h
	} else if now-h.kept < keepEvery {
		return h
	}
	h.kept, h.keep = now, 0
	if !room.Small() {
		return h
	}
	b := p.book.Load()
	most := min(mostKept, int(new(big.Int).Div(room.Size, big.NewInt(4)).Int64()))
	for _, macs := range b.Floating6 {
		if h.keep >= most {
			break
		}
		has := func(mac string) bool {
			_, r := p.replica.Own(s.Name, clientOf(mac))
			return r.Holds(now)
		}
		if !slices.ContainsFunc(macs, has) {
			h.keep++
		}
	}
	if h.keep > 0 {
		h.free = 0
		room.Each(b.Key, s.Name, "", func(a netip.Addr) bool {
			if p.free6(b, question6{}, s, a, now) {
				h.free++
			}
			return true
		})
	}
	return h
}

// freed notes that an address of a subnet may be free by now: pools that were empty are searched again. The caller holds p.mu.
func (p *Pool) freed(subnet string) {
	for key, h := range p.shelves {
		if key.subnet == subnet {
			h.empty = 0
		}
	}
}

// took6 notes that an address was bound that was free.
func (p *Pool) took6(key stockKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.shelves[key]; h != nil {
		h.free--
	}
}
