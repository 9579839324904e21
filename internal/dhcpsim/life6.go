package dhcpsim

import (
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

const closing = 7 * time.Second // that a system takes at most until it gives its address back; it renews nothing meanwhile

// pace is faster than that of IPv4, since there are fewer machines.
func (m *machine6) pace() time.Duration { return m.sim.o.Pace / 2 }

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
		m.sim.wake(m, m.between(time.Second, 2*m.pace()))
	case what < 0.5:
		m.state, m.said = leaving, 0
		m.sim.wake(m, m.between(closing/2, closing))
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
	if said == history.Release {
		m.sim.six.freed[m.network.Name] = m.lease.address
		if m.role == clone {
			m.covet()
		}
	}
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
	if m.role == plain && m.chance(0.6) {
		m.replaced()
	}
	m.sim.wake(m, m.between(time.Second, m.pace()))
}

// replaced is a machine that comes back as another one, and would like what somebody has given back in the network.
func (m *machine6) replaced() {
	m.sim.six.counts["replaced by a machine that nobody knows"]++
	m.sim.six.replaced++
	m.mac = macOf(len(m.sim.actors) + m.sim.six.replaced)
	m.sim.six.macs[m.mac.String()] = true
	if !m.network.Relay.IsValid() {
		m.sim.six.links[ofMAC(m.mac)] = m.mac
	}
	clear(m.had)
	m.hint = m.sim.six.freed[m.network.Name]
}

// covet has another machine come, which would like what one of two gives back: the other one has it still.
func (m *machine6) covet() {
	for _, other := range m.sim.six.machines {
		if other.role == plain && other.state == off && other.network.Name == m.network.Name && !m.sim.calm {
			other.replaced()
			m.sim.wake(other, m.between(time.Second, 3*time.Second))
			return
		}
	}
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
