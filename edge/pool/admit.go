package pool

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	clientBurst = 16          // packets of a client at once: firmware, iPXE and an operating system within seconds
	clientEvery = time.Second // another one
	maxClients  = 1 << 16     // that are remembered
	maxInFlight = 1024        // packets that are being decided
	strangers   = maxInFlight / 2

	declineBurst = 10 // of strangers in a subnet: each takes an address out of the pool
	declineEvery = time.Minute
)

// gate keeps one client, and all strangers together, from taking everything. What it refuses is dropped: clients ask again.
type gate struct {
	flying atomic.Int64
	known  atomic.Int64

	mu       sync.Mutex // guards what follows
	now, old map[string]bucket
	rejects  map[string]bucket // DECLINEs of strangers, by subnet
}

// bucket holds what may come at once.
type bucket struct {
	left  float64
	at    time.Duration
	again bool // it has sent more than one packet
}

func newGate() *gate { return &gate{now: map[string]bucket{}, rejects: map[string]bucket{}} }

// enter says whether a client's packet is to be answered, and if it is not, why. Those who come in leave when they are done.
func (g *gate) enter(client string, known bool, now time.Duration) (leave func(), why string) {
	if !g.often(client, now) {
		return nil, "client"
	}
	if !known {
		if g.flying.Add(1) > strangers {
			g.flying.Add(-1)
			return nil, "strangers"
		}
		return func() { g.flying.Add(-1) }, ""
	}
	if g.known.Add(1) > maxInFlight {
		g.known.Add(-1)
		return nil, "edge"
	}
	return func() { g.known.Add(-1) }, ""
}

func (g *gate) often(client string, now time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.now[client]
	b.again = ok
	if !ok {
		if b, ok = g.old[client]; !ok {
			b = bucket{left: clientBurst, at: now}
		}
		b.again = ok
		if len(g.now) >= maxClients/2 {
			g.now, g.old = make(map[string]bucket, maxClients/2), g.now
		}
	}
	ok = b.take(clientBurst, clientEvery, now)
	g.now[client] = b
	return ok
}

// asked says whether a client has sent more than one packet lately.
func (g *gate) asked(client string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now[client].again
}

// reject says whether a stranger's DECLINE is believed.
func (g *gate) reject(subnet string, now time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.rejects[subnet]
	if !ok {
		b = bucket{left: declineBurst, at: now}
	}
	ok = b.take(declineBurst, declineEvery, now)
	g.rejects[subnet] = b
	return ok
}

func (b *bucket) take(burst float64, every, now time.Duration) bool {
	b.left = min(burst, b.left+float64(now-b.at)/float64(every))
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// admit is the gate for a client's packet of either family. Where it stays shut, why says so, and the log does in say's words.
func (p *Pool) admit(client string, known bool, now time.Duration, say, key string) (leave func(), why string) {
	if leave, why = p.gate.enter(client, known, now); leave == nil {
		counted(refusals, "limit", why)
		p.sayOnce("limit "+why, func() { p.cfg.Log.Warn(say, "limit", why, key, client) })
		return nil, "too many packets: limit of " + why
	}
	return leave, ""
}
