package subnets

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

// Reach is the addresses of pools without those that are excluded. It costs the same however many they are.
type Reach struct {
	spans  []Span
	before []*big.Int // addresses of the spans before each
	Size   *big.Int   // nil: none
}

func reachOf(pools, exclude []Span) Reach {
	all := slices.Clone(pools)
	for _, x := range exclude {
		var left []Span
		for _, s := range all {
			if s.To.Less(x.From) || x.To.Less(s.From) {
				left = append(left, s)
				continue
			}
			if s.From.Less(x.From) {
				left = append(left, Span{s.From, x.From.Prev()})
			}
			if x.To.Less(s.To) {
				left = append(left, Span{x.To.Next(), s.To})
			}
		}
		all = left
	}
	r := Reach{spans: all}
	for _, s := range all {
		if r.Size == nil {
			r.Size = new(big.Int)
		}
		r.before = append(r.before, new(big.Int).Set(r.Size))
		from, to := numberOf(s.From), numberOf(s.To)
		r.Size.Add(r.Size, to.Sub(to, from)).Add(r.Size, big.NewInt(1))
	}
	return r
}

func numberOf(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }

// at is the address with a number below size, and the Span that it is in.
func (r Reach) at(n *big.Int) (netip.Addr, int) {
	i := sort.Search(len(r.before), func(i int) bool { return r.before[i].Cmp(n) > 0 }) - 1
	n = new(big.Int).Sub(n, r.before[i])
	var b [16]byte
	n.Add(n, numberOf(r.spans[i].From)).FillBytes(b[:])
	return netip.AddrFrom16(b), i
}

// Small says whether all addresses can be looked at.
func (r Reach) Small() bool { return r.Size != nil && r.Size.Cmp(big.NewInt(smallReach)) <= 0 }

// Each visits addresses for a client, in an order that is the same on every edge and another one for every client, until visit
// says false. Without the key nobody can tell the order (RFC 7943 §3). All are visited, or more than can be taken.
func (r Reach) Each(key []byte, subnet, client string, visit func(netip.Addr) bool) {
	if r.Size == nil {
		return
	}
	tries := chances
	if r.Small() {
		tries = 1
	}
	var last netip.Addr
	var in int
	for i := range tries {
		n := number(key, subnet, client, i)
		last, in = r.at(n.Mod(n, r.Size))
		if !visit(last) {
			return
		}
	}
	steps := mostWalk
	if r.Small() {
		steps = int(r.Size.Int64()) - 1
	}
	for range steps { // those behind the last one, and then those before it
		if last == r.spans[in].To {
			in = (in + 1) % len(r.spans)
			last = r.spans[in].From
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
