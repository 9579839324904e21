package dhcpsim

import (
	"bufio"
	"container/heap"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// ownMAC is the first byte of all simulated hardware addresses.
const ownMAC = 0x06

// forgedMAC is the second byte of those that somebody made up; it is zero otherwise.
const forgedMAC = 0xf1

// simulated says whether a hardware address is of this package's. The kernel gives interfaces some that begin alike.
func simulated(mac history.MAC) bool { return mac[0] == ownMAC && (mac[1] == 0 || mac[1] == forgedMAC) }

// Options of a simulation.
type Options struct {
	Seed     uint64
	Machines int // of IPv4, behind relays
	Direct   int // of IPv4, on the segment
	// Six and SixDirect are as many of IPv6. Some are machines of IPv4, too.
	Six, SixDirect int
	Networks       []Network
	Spread         time.Duration // over which machines are switched on
	Pace           time.Duration // between the things that happen to a machine which has its address; a mean
	Loss           float64       // of packets, each way
	Twice          float64       // of packets that are sent
	Honest         bool          // nobody moves, lies or has another's MAC
	Quiet          bool          // machines are switched on and renew, and nothing else happens to them, from the beginning
	Log            io.Writer     // for every packet; may be nil
	// Load loads what a machine boots next, in a goroutine of its own; nil: that takes a second, and nothing is loaded.
	Load func(ctx context.Context, l Loading) error
}

// Sim is the machines. All but Run is for other goroutines while it runs.
type Sim struct {
	Model *history.Model // once Run has returned

	o        Options
	wire     *Wire
	random   *rand.Rand // of the sim's own, not of machines
	start    time.Time
	machines []*machine
	six      six
	actors   []actor // of both families, by number
	wakes    wakes
	orders   chan func()
	xids     map[uint32]int // of all that was ever asked, to its machine
	direct   map[netip.Addr]*machine
	counts   map[string]int
	log      *bufio.Writer
	calm     bool
	frozen   bool
	ctx      context.Context // of Run
	loads    sync.WaitGroup
}

// New makes the machines. Nothing is sent before Run.
func New(o Options, wire *Wire, model *history.Model) *Sim {
	s := &Sim{Model: model, o: o, wire: wire, random: rand.New(rand.NewPCG(o.Seed, 0)), orders: make(chan func()),
		xids: map[uint32]int{}, direct: map[netip.Addr]*machine{}, counts: map[string]int{}}
	s.calm = o.Quiet
	if o.Log != nil {
		s.log = bufio.NewWriter(o.Log)
	}
	relayed, direct := places(o.Networks, false)
	for i := range o.Machines + o.Direct {
		m := &machine{body: s.body(i, relayed)}
		m.mac = macOf(i)
		if i >= o.Machines {
			m.networks = direct
		}
		m.network = m.networks[m.random.IntN(len(m.networks))]
		s.assign(m)
		s.machines, s.actors = append(s.machines, m), append(s.actors, m)
	}
	s.add6()
	return s
}

// places are the networks of a family behind relays, and on the segment.
func places(networks []Network, six bool) (relayed, direct []Network) {
	for _, n := range networks {
		switch {
		case n.six() != six:
		case n.Relay.IsValid():
			relayed = append(relayed, n)
		default:
			direct = append(direct, n)
		}
	}
	return relayed, direct
}

func (s *Sim) body(id int, networks []Network) body {
	return body{sim: s, id: id, random: rand.New(rand.NewPCG(s.o.Seed, uint64(id+1))), networks: networks, had: map[string]lease{}}
}

// MAC is the hardware address of a machine by its number. Of those who share one the first has it.
func MAC(i int) string { return macOf(i).String() }

func macOf(i int) history.MAC {
	return history.MAC{ownMAC, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
}

// assign says what a machine is.
func (s *Sim) assign(m *machine) {
	if s.o.Honest || m.id >= s.o.Machines {
		return
	}
	switch share := m.id % 100; {
	case share < 10:
		m.role = mover
	case share >= 50 && share < 54: // pairs
		m.role = clone
		if share%2 == 1 {
			m.mac, m.network = s.machines[m.id-1].mac, s.machines[m.id-1].network
		}
	case share == 99:
		m.role = liar
	}
}

// Run lets the machines live until ctx ends.
func (s *Sim) Run(ctx context.Context) {
	s.start, s.ctx = time.Now(), ctx
	defer s.loads.Wait()
	for _, a := range s.actors {
		s.wake(a, time.Duration(a.base().random.Float64()*float64(s.o.Spread)))
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		for len(s.wakes) > 0 && s.wakes[0].at <= s.now() {
			w := heap.Pop(&s.wakes).(wake)
			if a := s.actors[w.machine]; w.number == a.base().wakes && !s.frozen {
				a.step(s.now())
			}
		}
		if len(s.wakes) > 0 {
			timer.Reset(s.wakes[0].at - s.now())
		}
		select {
		case in := <-s.wire.in:
			s.receive(in)
		case order := <-s.orders:
			order()
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if s.log != nil {
		_ = s.log.Flush() // the log is for people
	}
}

func (s *Sim) now() time.Duration { return time.Since(s.start) }

// do calls f between packets, and waits for it.
func (s *Sim) do(ctx context.Context, f func()) {
	done := make(chan struct{})
	select {
	case s.orders <- func() { f(); close(done) }:
		<-done
	case <-ctx.Done():
	}
}

// Calm ends all misbehaviour and loss: who is off is switched on, and nothing happens to machines any more.
func (s *Sim) Calm(ctx context.Context) {
	s.do(ctx, func() {
		s.calm = true
		for _, a := range s.actors {
			if b := a.base(); b.state == off && b.role != liar {
				s.wake(a, time.Duration(b.random.Int64N(int64(3*time.Second))))
			}
		}
	})
}

// Homeless is how many well-behaved machines do not run their operating system with an address now.
func (s *Sim) Homeless(ctx context.Context) (n int) {
	s.do(ctx, func() {
		for _, a := range s.actors {
			if b := a.base(); b.wellBehaved() && !b.settled(s.now()) {
				n++
			}
		}
	})
	return n
}

// Freeze stops all machines where they are, so that what they have can be compared with what servers think.
func (s *Sim) Freeze(ctx context.Context) { s.do(ctx, func() { s.frozen = true }) }

// Now is the time of the history.
func (s *Sim) Now() time.Duration { return s.now() }

// Relay has the relay agent pass on what comes from now on to other servers.
func (s *Sim) Relay(ctx context.Context, servers ...netip.Addr) {
	s.do(ctx, func() { s.wire.serve(servers) })
}

// Restart has all machines of IPv4 that have their address start again now: those with an even number from their firmware on, the
// others their operating system only.
func (s *Sim) Restart(ctx context.Context) {
	s.do(ctx, func() {
		for _, m := range s.machines {
			switch {
			case m.role == liar || !m.settled(s.now()):
			case m.id%2 == 0:
				m.state = off
				s.counts["power off"]++
				s.wake(m, time.Duration(m.random.Int64N(int64(time.Second))))
			default:
				m.reboot(s.now(), m.lease)
			}
		}
	})
}

// Flood sends DISCOVERs of so many machines that there are not, which never take what is offered.
func (s *Sim) Flood(ctx context.Context, n Network, count int) {
	s.do(ctx, func() {
		for range count {
			xid := s.random.Uint32()
			for _, known := s.xids[xid]; known; _, known = s.xids[xid] {
				xid = s.random.Uint32()
			}
			s.xids[xid] = flood
			s.counts["DISCOVERs of floods"]++
			mac := history.MAC{ownMAC, forgedMAC}
			binary.BigEndian.PutUint32(mac[2:], s.random.Uint32())
			s.wire.broadcast(n, mac, request(history.Discover, xid, mac).waited(0).bytes())
		}
	})
}

// Lease is what the operating system of a machine has.
type Lease struct {
	Network         string
	MAC             string
	Address, Server netip.Addr
	Asked           time.Duration // when it asked for it last, of the history's time
}

// Leases are those of all well-behaved machines of IPv4 that have one now, by number.
func (s *Sim) Leases(ctx context.Context) map[int]Lease {
	all := map[int]Lease{}
	s.do(ctx, func() {
		for _, m := range s.machines {
			if m.wellBehaved() && m.settled(s.now()) {
				all[m.id] = Lease{m.network.Name, m.mac.String(), m.lease.address, m.lease.server, m.lease.asked}
			}
		}
	})
	return all
}

// Want says where well-behaved machines are, by number. For when nothing runs.
func (s *Sim) Want() map[int]string {
	want := map[int]string{}
	for _, a := range s.actors {
		if b := a.base(); b.wellBehaved() {
			want[b.id] = b.network.Name
		}
	}
	return want
}

// MACs are those of all machines that there are or were; floods have others.
func (s *Sim) MACs() map[string]bool {
	all := maps.Clone(s.six.macs)
	for _, m := range s.machines {
		all[m.mac.String()] = true
	}
	return all
}

// Counts are what machines did, by kind.
func (s *Sim) Counts() map[string]int { return s.counts }

func (s *Sim) note(e history.Event) {
	e.At = s.now()
	s.Model.Add(e)
	if s.log != nil {
		fmt.Fprintln(s.log, e)
	}
}

func (s *Sim) receive(in inbound) {
	if in.six {
		s.receive6(in)
		return
	}
	if in.who.IsValid() {
		if m := s.direct[in.who]; m != nil && m.has(s.now()) && m.lease.address == in.who {
			s.wire.segment.Write(arp(in.mac, in.from, m.mac, in.who))
		}
		return
	}
	r, ok := parse(in.payload)
	if !ok {
		s.counts["answers that cannot be read"]++
		return
	}
	id, known := s.xids[r.xid]
	if !known {
		s.note(history.Event{Received: true, Machine: -1, MAC: r.mac, Message: r.message, XID: r.xid, Address: r.address, Server: r.server})
		return
	}
	if s.frozen || id == flood || s.lost() {
		return
	}
	m := s.machines[id]
	switch {
	case m.mac != r.mac:
		s.counts["answers with another MAC"]++
	case in.relay != "" && in.relay != m.network.Name: // it has moved
		s.counts["answers to where a machine was"]++
	case m.xid != r.xid:
		s.counts["answers that came too late"]++
	default:
		m.receive(s.now(), r, in.from)
	}
}

func (s *Sim) lost() bool {
	if s.calm || s.random.Float64() >= s.o.Loss {
		return false
	}
	s.counts["packets lost"]++
	return true
}

// copies is how often a packet is sent.
func (s *Sim) copies() int {
	switch {
	case s.lost():
		return 0
	case !s.calm && s.random.Float64() < s.o.Twice:
		s.counts["packets sent twice"]++
		return 2
	}
	return 1
}

// wake is when a machine does something next, unless it did something else before.
type wake struct {
	at              time.Duration
	machine, number int
}

type wakes []wake

func (w wakes) Len() int           { return len(w) }
func (w wakes) Less(a, b int) bool { return w[a].at < w[b].at }
func (w wakes) Swap(a, b int)      { w[a], w[b] = w[b], w[a] }
func (w *wakes) Push(x any)        { *w = append(*w, x.(wake)) }
func (w *wakes) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}

// wake has a machine do something after a time, and nothing before.
func (s *Sim) wake(a actor, after time.Duration) {
	b := a.base()
	b.wakes++
	heap.Push(&s.wakes, wake{s.now() + after, b.id, b.wakes})
}
