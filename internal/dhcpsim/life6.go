package dhcpsim

import (
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// live is what happens to a machine that has an address.
func (m *machine6) live(now time.Duration) {
	switch {
	case m.program != system:
		m.program++
		m.begin(now)
	case now >= m.lease.t1:
		m.enter(now, renewing, renewals)
		m.renew(now)
	case m.sim.calm:
		m.settle(now)
	default:
		m.happen(now)
	}
}

// happen has something happen to a machine, as it does in rooms.
func (m *machine6) happen(now time.Duration) {
	counts := m.sim.six.counts
	what := m.random.Float64()
	switch {
	case m.role == mover && what < 0.5:
		counts["moved to another network"]++
		m.confirm(now, m.move())
	case what < 0.25:
		counts["power off"]++
		m.state = off
		m.sim.wake(m, m.between(time.Second, 2*m.sim.o.Pace))
	case what < 0.5:
		m.leave(now, history.Release)
	case what < 0.7: // the system starts again, without firmware
		m.confirm(now, m.lease)
	case what < 0.75 && m.role != clone: // a clone's would be of both, and the other one never hears of it
		m.leave(now, history.Decline)
	default:
		m.settle(now)
	}
}

// leave gives the address back, or says that somebody else uses it. It is not used any more from now on.
func (m *machine6) leave(now time.Duration, said history.Message) {
	m.enter(now, leaving, goodbyes)
	m.said = said
	m.sendLeave(now)
}

func (m *machine6) sendLeave(now time.Duration) {
	kind := dhcpv6.MessageTypeRelease
	if m.said == history.Decline {
		kind = dhcpv6.MessageTypeDecline
	}
	m.send(history.Event{Message: m.said, Address: m.lease.address, Server: m.lease.server}, m.to(m.lease.server, m.message(kind, now, m.lease.address)))
}

// left is when a server knows, or when the machine does not care any more whether one does.
func (m *machine6) left(now time.Duration) {
	m.lose()
	if m.said == history.Decline {
		m.anew()
		return
	}
	m.state = off
	if m.sim.calm {
		m.sim.wake(m, m.between(0, time.Second))
		return
	}
	m.sim.wake(m, m.between(2*time.Second, m.sim.o.Pace))
}

// renew asks the server that gave the address, later any, and gives up when the time is over.
func (m *machine6) renew(now time.Duration) {
	l := m.lease
	if now >= l.until {
		m.sim.six.counts["addresses that ran out while their machine was up"]++
		m.lose()
		m.solicit(now)
		return
	}
	if now < l.t2 {
		m.sim.wake(m, min(m.again.next(m.random), l.t2-now))
		m.say(history.Event{Message: history.Request, Mode: history.Renewing, Address: l.address, Server: l.server},
			m.to(l.server, m.message(dhcpv6.MessageTypeRenew, now, l.address)))
		return
	}
	if m.state == renewing {
		m.enter(now, rebinding, renewals)
	}
	m.sim.wake(m, min(m.again.next(m.random), l.until-now))
	m.say(history.Event{Message: history.Request, Mode: history.Rebinding, Address: l.address}, m.message(dhcpv6.MessageTypeRebind, now, l.address))
}
