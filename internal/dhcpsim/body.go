package dhcpsim

import (
	"math/rand/v2"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// body is what machines of both families have.
type body struct {
	sim      *Sim
	id       int
	mac      history.MAC
	role     role
	random   *rand.Rand
	network  Network
	networks []Network
	wakes    int

	program program
	state   state
	lease   lease
	had     map[string]lease // by network: what the operating system kept on its disk
}

// actor is a machine of either family.
type actor interface {
	base() *body
	// step is called when it is time.
	step(now time.Duration)
}

func (b *body) base() *body { return b }

func (b *body) wellBehaved() bool { return b.role == plain || b.role == mover }

func (b *body) has(now time.Duration) bool {
	return b.state >= bound && b.lease.address.IsValid() && b.lease.until > now
}

func (b *body) settled(now time.Duration) bool { return b.program == system && b.has(now) }

func (b *body) chance(p float64) bool { return b.random.Float64() < p }

func (b *body) between(least, most time.Duration) time.Duration {
	return least + time.Duration(b.random.Int64N(int64(most-least)+1))
}

// at is the number of the network where the machine is.
func (b *body) at() int {
	for i, n := range b.networks {
		if n.Name == b.network.Name {
			return i
		}
	}
	return 0
}

// move brings the machine to another network. It says what to ask for there: what it had in that one, as systems do that know
// networks again, or what it has in this one.
func (b *body) move() lease {
	b.network = b.networks[(b.random.IntN(len(b.networks)-1)+1+b.at())%len(b.networks)]
	if kept := b.had[b.network.Name]; kept.address.IsValid() && b.chance(0.5) {
		return kept
	}
	return b.lease
}

// pause is until the next program or the next thing that happens to a machine with an address: something happens once in a pace.
func (b *body) pause(now, pace time.Duration) time.Duration {
	if b.program != system { // the next program is loaded
		return b.between(200*time.Millisecond, 1500*time.Millisecond)
	}
	next := max(0, b.lease.t1-now)
	if !b.sim.calm {
		next = min(next, time.Duration(b.random.ExpFloat64()*float64(pace)))
	}
	return next
}
