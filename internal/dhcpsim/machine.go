package dhcpsim

import (
	"net/netip"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// role is what kind of neighbour a machine is.
type role int

const (
	plain role = iota
	mover      // goes from one network to another
	clone      // has the same MAC as another machine
	liar
)

// program is what runs on a machine: each asks for an address of its own, with another client id.
type program int

const (
	firmware program = iota
	ipxe
	system
)

// state is the client's, of RFC 2131 figure 5.
type state int

const (
	off state = iota
	waiting
	selecting
	requesting
	rebooting
	leaving // it gives its address back: DHCPv6 only, which answers that
	bound
	renewing
	rebinding
)

const (
	firstTimeout = time.Second // of firmware it is 4 s; here all is faster
	longTimeout  = 8 * time.Second
	tries        = 4
	offersFor    = 200 * time.Millisecond // that some clients wait for more offers
	leastRetry   = time.Second            // of a renewal; RFC 2131 says a minute, for leases of hours
)

// lease is an address that a machine believes to have.
type lease struct {
	address, server netip.Addr
	t1, t2, until   time.Duration // in the simulation's time
	asked           time.Duration
	next            netip.Addr // server of what is booted
	file            string
}

// machine is a client of IPv4.
type machine struct {
	body

	xid   uint32
	begun time.Duration // when it began to ask
	asked time.Duration // when it asked last
	tried int
	offer reply // that it takes
}

func (m *machine) step(now time.Duration) {
	if m.role == liar {
		m.lie(now)
		return
	}
	switch m.state {
	case off:
		m.program = firmware
		m.sim.counts["power on"]++
		m.discover(now)
	case waiting:
		m.begin(now)
	case selecting:
		if m.offer.address.IsValid() {
			m.state, m.tried = requesting, 0
			m.choose(now)
		} else {
			m.again(now, m.sendDiscover)
		}
	case requesting:
		m.again(now, m.choose)
	case rebooting:
		m.again(now, m.sendReboot)
	case bound:
		m.live(now)
	case renewing, rebinding:
		m.renew(now)
	}
}

// begin is the start of a program.
func (m *machine) begin(now time.Duration) {
	if old := m.had[m.network.Name]; m.program == system && (old.until > now || old.address.IsValid() && m.chance(0.3)) {
		m.reboot(now, old)
		return
	}
	m.discover(now)
}

func (m *machine) discover(now time.Duration) {
	m.newXID()
	m.state, m.tried, m.begun, m.offer = selecting, 0, now, reply{}
	m.sendDiscover(now)
}

// reboot asks for an address that the machine had (INIT-REBOOT).
func (m *machine) reboot(now time.Duration, old lease) {
	m.newXID()
	m.state, m.tried, m.begun, m.lease = rebooting, 0, now, old
	m.sim.counts["INIT-REBOOT"]++
	m.sendReboot(now)
}

func (m *machine) newXID() {
	for known := true; known; {
		m.xid = m.random.Uint32()
		_, known = m.sim.xids[m.xid]
	}
	m.sim.xids[m.xid] = m.id
}

// again repeats what was not answered, and begins anew after some tries.
func (m *machine) again(now time.Duration, send func(time.Duration)) {
	if m.tried < tries {
		send(now)
		return
	}
	m.discover(now)
}

// timeout is until the next try: twice the last one, and a bit random (RFC 2131 §4.1).
func (m *machine) timeout() {
	d := min(firstTimeout<<m.tried, longTimeout)
	m.tried++
	m.sim.wake(m, m.between(d*8/10, d*12/10))
}

func (m *machine) sendDiscover(now time.Duration) {
	m.timeout()
	m.all(history.Event{Message: history.Discover}, m.packet(history.Discover, now))
}

// choose asks for the address of the offer.
func (m *machine) choose(now time.Duration) {
	m.timeout()
	m.asked = now
	p := m.packet(history.Request, now).address(optRequested, m.offer.address).address(optServer, m.offer.server)
	m.all(history.Event{Message: history.Request, Mode: history.Selecting, Address: m.offer.address, Server: m.offer.server}, p)
}

func (m *machine) sendReboot(now time.Duration) {
	m.timeout()
	m.asked = now
	m.all(history.Event{Message: history.Request, Mode: history.Rebooting, Address: m.lease.address}, m.packet(history.Request, now).address(optRequested, m.lease.address))
}

// all broadcasts a packet.
func (m *machine) all(e history.Event, p *packet) {
	m.note(e)
	for range m.sim.copies() {
		m.sim.wire.broadcast(m.network, m.mac, p.bytes())
	}
}

// one sends a packet to the server of the lease.
func (m *machine) one(e history.Event, p *packet) {
	m.note(e)
	for range m.sim.copies() {
		m.sim.wire.unicast(m.network, m.mac, e.Address, m.lease.server, p.bytes())
	}
}

func (m *machine) note(e history.Event) {
	e.Machine, e.MAC, e.Network, e.XID = m.id, m.mac, m.network.Name, m.xid
	m.sim.note(e)
}

// receive takes an answer to what the machine asked last.
func (m *machine) receive(now time.Duration, r reply, from netip.Addr) {
	e := history.Event{Received: true, Message: r.message, Address: r.address, Server: r.server, From: from, Lease: r.lease}
	switch {
	case r.message == history.Offer && m.state == selecting:
		m.note(e)
		first := !m.offer.address.IsValid()
		if !r.address.IsValid() || !r.server.IsValid() || !first && m.chance(0.5) {
			return
		}
		m.offer = r
		switch {
		case !first: // it waits already
		case m.chance(0.3):
			m.sim.wake(m, offersFor)
		default:
			m.step(now)
		}
	case r.message == history.ACK && (m.state == requesting || m.state == rebooting || m.state == renewing || m.state == rebinding || m.role == liar):
		m.note(e)
		m.acknowledged(now, r)
	case r.message == history.NAK && m.state != selecting && m.state != off && m.state != waiting || r.message == history.NAK && m.role == liar:
		m.note(e)
		m.sim.counts["NAKs"]++
		if m.state == bound || m.role == liar {
			return // another server said yes before
		}
		m.lose()
		m.state = waiting
		m.sim.wake(m, m.between(100*time.Millisecond, time.Second))
	}
}

// lose forgets the address.
func (m *machine) lose() {
	if m.sim.direct[m.lease.address] == m {
		delete(m.sim.direct, m.lease.address)
	}
	m.lease = lease{}
	delete(m.had, m.network.Name)
}

func (m *machine) acknowledged(now time.Duration, r reply) {
	l := lease{address: r.address, server: r.server, until: m.asked + r.lease, asked: m.asked, next: r.next, file: r.file}
	if r.t1 <= 0 || r.t1 > r.lease {
		r.t1 = r.lease / 2
	}
	if r.t2 < r.t1 || r.t2 > r.lease {
		r.t2 = r.lease * 7 / 8
	}
	l.t1, l.t2 = m.asked+r.t1, m.asked+r.t2
	m.lease = l
	if m.role == liar {
		return
	}
	m.state = bound
	if !m.network.Relay.IsValid() {
		m.sim.direct[l.address] = m
	}
	if m.program == system {
		m.had[m.network.Name] = l
	}
	m.rest(now)
}
