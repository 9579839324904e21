package dhcpsim

import (
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// packet begins a packet as the program that runs would send it.
func (m *machine) packet(message history.Message, now time.Duration) *packet {
	p := request(message, m.xid, m.mac).waited(now - m.begun)
	// Machines with one MAC differ in what else they say.
	uuid := append([]byte{0, byte(m.id >> 24), byte(m.id >> 16), byte(m.id >> 8), byte(m.id), 0, 0, 0, 0, 0, 0}, m.mac[:]...)
	switch m.program {
	case firmware:
		p.option(optClientID, uuid...)
		p.option(optClass, []byte("PXEClient:Arch:00007:UNDI:003016")...)
	case ipxe:
		p.option(optClientID, append([]byte{1}, m.mac[:]...)...)
		p.option(optClass, []byte("PXEClient:Arch:00007:UNDI:003016")...)
		p.option(optUserClass, []byte("iPXE")...)
		p.option(optIPXE, 0x13, 1, 1, 0x24, 1, 1)
	case system:
		// An IAID and a DUID-LL (RFC 4361).
		p.option(optClientID, append([]byte{255, 0, 0, 0, byte(m.id), 0, 3, 0, 1}, m.mac[:]...)...)
		p.option(optHostname, []byte("sim")...)
		return p.option(optParams, 1, 3, 6, 15, 51, 58, 59)
	}
	return p.option(optArch, 0, 7).option(optUNDI, 1, 3, 16).option(optUUID, uuid...).option(optMaxSize, 5, 192).option(optParams, 1, 3, 6, 43, 54, 60, 66, 67)
}

// rest sleeps until there is something to do for a machine with an address.
func (m *machine) rest(now time.Duration) {
	if m.program != system && m.sim.o.Load != nil {
		m.sim.load(m)
		return
	}
	m.sim.wake(m, m.pause(now, m.sim.o.Pace))
}

// live is what happens to a machine that has an address.
func (m *machine) live(now time.Duration) {
	switch {
	case m.program != system:
		m.program++
		m.begin(now)
	case now >= m.lease.t1:
		m.newXID()
		m.state, m.begun = renewing, now
		m.renew(now)
	case m.sim.calm:
		m.rest(now)
	default:
		m.happen(now)
	}
}

// happen has something happen to a machine, as it does in rooms.
func (m *machine) happen(now time.Duration) {
	what := m.random.Float64()
	switch {
	case m.role == mover && what < 0.5:
		m.sim.counts["moved to another network"]++
		m.reboot(now, m.move())
	case what < 0.3:
		m.sim.counts["power off"]++
		m.state = off
		m.sim.wake(m, m.between(time.Second, 2*m.sim.o.Pace))
	case what < 0.5:
		m.sim.counts["RELEASE"]++
		m.release(now)
		m.state = off
		m.sim.wake(m, m.between(2*time.Second, m.sim.o.Pace))
	case what < 0.7: // the system starts again, without firmware
		m.reboot(now, m.lease)
	case what < 0.73:
		m.sim.counts["DECLINE"]++
		m.newXID()
		m.all(history.Event{Message: history.Decline, Address: m.lease.address, Server: m.lease.server},
			m.packet(history.Decline, now).address(optRequested, m.lease.address).address(optServer, m.lease.server))
		m.lose()
		m.state = waiting
		m.sim.wake(m, m.between(time.Second, 2*time.Second))
	default:
		m.rest(now)
	}
}

func (m *machine) release(now time.Duration) {
	m.newXID()
	address := m.lease.address
	m.one(history.Event{Message: history.Release, Address: address, Server: m.lease.server},
		m.packet(history.Release, now).from(address).address(optServer, m.lease.server))
	m.lose()
}

// renew asks the server that gave the address, later any, and gives up when the time is over.
func (m *machine) renew(now time.Duration) {
	l := m.lease
	if now >= l.until {
		m.sim.counts["leases that ran out while their machine was up"]++
		m.lose()
		m.discover(now)
		return
	}
	m.asked = now
	p := m.packet(history.Request, now).from(l.address)
	if now < l.t2 {
		m.sim.wake(m, min(max((l.t2-now)/2, leastRetry), l.t2-now))
		m.one(history.Event{Message: history.Request, Mode: history.Renewing, Address: l.address}, p)
		return
	}
	m.state = rebinding
	m.sim.wake(m, min(max((l.until-now)/2, leastRetry), l.until-now))
	m.all(history.Event{Message: history.Request, Mode: history.Rebinding, Address: l.address}, p)
}
