package pool

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"net/netip"
	"slices"
	"sort"
)

const (
	smallReach = 4096    // addresses that are gone through one by one
	chances    = 32      // of larger pools: addresses that are tried for a client before those beside the last one
	mostWalk   = 1 << 17 // of these: more than bindings a subnet may have, with what is fixed and excluded
)

// reach is the addresses of pools without those that are excluded. It costs the same however many they are.
type reach struct {
	spans  []span
	before []*big.Int // addresses of the spans before each
	size   *big.Int   // nil: none
}

func reachOf(pools, exclude []span) reach {
	all := slices.Clone(pools)
	for _, x := range exclude {
		var left []span
		for _, s := range all {
			if s.to.Less(x.from) || x.to.Less(s.from) {
				left = append(left, s)
				continue
			}
			if s.from.Less(x.from) {
				left = append(left, span{s.from, x.from.Prev()})
			}
			if x.to.Less(s.to) {
				left = append(left, span{x.to.Next(), s.to})
			}
		}
		all = left
	}
	r := reach{spans: all}
	for _, s := range all {
		if r.size == nil {
			r.size = new(big.Int)
		}
		r.before = append(r.before, new(big.Int).Set(r.size))
		from, to := numberOf(s.from), numberOf(s.to)
		r.size.Add(r.size, to.Sub(to, from)).Add(r.size, big.NewInt(1))
	}
	return r
}

func numberOf(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }

// at is the address with a number below size, and the span that it is in.
func (r reach) at(n *big.Int) (netip.Addr, int) {
	i := sort.Search(len(r.before), func(i int) bool { return r.before[i].Cmp(n) > 0 }) - 1
	n = new(big.Int).Sub(n, r.before[i])
	var b [16]byte
	n.Add(n, numberOf(r.spans[i].from)).FillBytes(b[:])
	return netip.AddrFrom16(b), i
}

// small says whether all addresses can be looked at.
func (r reach) small() bool { return r.size != nil && r.size.Cmp(big.NewInt(smallReach)) <= 0 }

// each visits addresses for a client, in an order that is the same on every edge and another one for every client, until visit
// says false. Without the key nobody can tell the order (RFC 7943 §3). All are visited, or more than can be taken.
func (r reach) each(key []byte, subnet, client string, visit func(netip.Addr) bool) {
	if r.size == nil {
		return
	}
	tries := chances
	if r.small() {
		tries = 1
	}
	var last netip.Addr
	var in int
	for i := range tries {
		n := number(key, subnet, client, i)
		last, in = r.at(n.Mod(n, r.size))
		if !visit(last) {
			return
		}
	}
	steps := mostWalk
	if r.small() {
		steps = int(r.size.Int64()) - 1
	}
	for range steps { // those behind the last one, and then those before it
		if last == r.spans[in].to {
			in = (in + 1) % len(r.spans)
			last = r.spans[in].from
		} else {
			last = last.Next()
		}
		if !visit(last) {
			return
		}
	}
}

// number is the i-th of a client in a subnet: 128 bits.
func number(key []byte, subnet, client string, i int) *big.Int {
	h := hmac.New(sha256.New, key)
	h.Write(binary.BigEndian.AppendUint32([]byte("kiln address\x00"+subnet+"\x00"+client+"\x00"), uint32(i)))
	return new(big.Int).SetBytes(h.Sum(nil)[:16])
}
