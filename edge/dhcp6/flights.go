package dhcp6

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

const (
	rememberFor = 15 * time.Second // an answer, for a client that did not get it (RFC 8415 §7.6: it asks again after 1, 2, 4, ... s)
	maxFlights  = 8192             // transactions that are remembered: 10 MB at most
	maxOfOne    = 3                // decisions about one client at once: more transactions it has no use for
)

// flights are the transactions that are being decided, and those that were a moment ago.
type flights struct {
	mu  sync.Mutex // guards all of it
	all map[string]*flight
	of  map[string]int // decisions under way by client
}

type flight struct {
	client string
	packet []byte // the answer; nil while it is being decided
	to     netip.AddrPort
	until  time.Time // that the answer is remembered
}

// verdict is what to do with a packet.
type verdict int

const (
	fresh     verdict = iota // decide; then land
	underway                 // its answer comes
	answered                 // send it the answer again
	excessive                // the client has too much under way, or everybody has
)

// keyOf tells transactions apart. The time that a client has waited is not in it, so that one that asks again is the same.
func keyOf(c Client) string {
	return fmt.Sprint(c.Ingress.Index, c.Ingress.From, c.Peer, c.Message, c.XID(), c.DUID)
}

// begin takes a packet.
func (f *flights) begin(c Client, now time.Time) (verdict, *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all, f.of = map[string]*flight{}, map[string]int{}
	}
	key := keyOf(c)
	if old := f.all[key]; old != nil {
		if old.packet == nil {
			return underway, nil
		}
		if now.Before(old.until) {
			return answered, old
		}
		delete(f.all, key)
	}
	if len(f.all) >= maxFlights {
		f.sweep(now)
	}
	who := c.String()
	if len(f.all) >= maxFlights || f.of[who] >= maxOfOne {
		return excessive, nil
	}
	f.all[key] = &flight{client: who}
	f.of[who]++
	return fresh, nil
}

// land ends a decision. Where there was no answer the client may ask again, and is decided about anew.
func (f *flights) land(c Client, a Answer, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := keyOf(c)
	old := f.all[key]
	if f.of[old.client]--; f.of[old.client] == 0 {
		delete(f.of, old.client)
	}
	if a.Packet == nil {
		delete(f.all, key)
		return
	}
	old.packet, old.to, old.until = a.Packet, a.To, now.Add(rememberFor)
}

// sweep forgets answers that are old, or all when the room is needed.
func (f *flights) sweep(now time.Time) {
	for _, every := range []bool{false, true} {
		for key, one := range f.all {
			if one.packet != nil && (every || now.After(one.until)) {
				delete(f.all, key)
			}
		}
		if len(f.all) < maxFlights/4*3 {
			return
		}
	}
}
