package dhcpsim

import (
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// machine6 is a client of IPv6 that has its address by DHCPv6 (RFC 8415 §18.2): one, in one association.
type machine6 struct {
	body

	xid   uint32
	as    identity      // by which it asks
	begun time.Duration // when it began to
	again retransmission
	rapid bool
	hint  netip.Addr // that it would like, when it solicits
	best  advert
	said  history.Message // RELEASE or DECLINE, in the state leaving; 0: it has not said it yet. Of liars: what they said last
}

// advert is what a machine takes of what servers advertise.
type advert struct {
	address, server netip.Addr
	preference      uint8
}

func (m *machine6) step(now time.Duration) {
	if m.role == liar {
		m.lie(now)
		return
	}
	switch m.state {
	case off:
		m.sim.six.counts["power on"]++
		m.program = firmware
		if m.chance(0.4) { // it boots from its disk
			m.program = system
		}
		m.begin(now)
	case waiting:
		m.begin(now)
	case selecting:
		if m.best.address.IsValid() {
			m.request(now, m.best.address, m.best.server)
		} else {
			m.sendSolicit(now)
		}
	case requesting:
		if m.again.over() {
			m.solicit(now)
		} else {
			m.sendRequest(now)
		}
	case rebooting:
		switch {
		case !m.again.over():
			m.sendConfirm(now)
		case m.network.Prefix.Contains(m.lease.address): // nobody answers: it goes on with what it has (RFC 8415 §18.2.3)
			m.sim.six.counts["CONFIRMs that nobody answered"]++
			m.settle(now)
		default:
			m.lose()
			m.solicit(now)
		}
	case leaving:
		switch {
		case m.said == 0:
			m.leave(now, history.Release)
		case m.again.over():
			m.left(now)
		default:
			m.sendLeave(now)
		}
	case bound:
		m.live(now)
	case renewing, rebinding:
		m.renew(now)
	}
}

// begin is the start of a program.
func (m *machine6) begin(now time.Duration) {
	old := m.had[m.network.Name]
	if m.program == system && old.until > now {
		m.confirm(now, old)
		return
	}
	if m.program == system && old.address.IsValid() && m.chance(0.5) {
		m.hint = old.address
	}
	m.solicit(now)
}

func (m *machine6) enter(now time.Duration, s state, again retransmission) {
	m.newXID()
	m.as, m.state, m.begun, m.again = m.identityOf(m.program), s, now, again
}

func (m *machine6) newXID() {
	for known := true; known; {
		m.xid = m.random.Uint32() >> 8
		_, known = m.sim.six.xids[m.xid]
	}
	m.sim.six.xids[m.xid] = m.id
}

func (m *machine6) solicit(now time.Duration) {
	m.enter(now, selecting, solicits)
	m.best, m.rapid = advert{}, m.chance(0.3)
	m.sendSolicit(now)
}

// request asks for an address, most often for the one that a server has advertised.
func (m *machine6) request(now time.Duration, address, server netip.Addr) {
	m.enter(now, requesting, requests)
	m.best = advert{address: address, server: server}
	m.sendRequest(now)
}

// confirm asks whether an address that the machine had is of the network where it is.
func (m *machine6) confirm(now time.Duration, old lease) {
	if old.until <= now {
		m.lose()
		m.solicit(now)
		return
	}
	m.enter(now, rebooting, confirms)
	m.lease = old
	m.sendConfirm(now)
}

func (m *machine6) sendSolicit(now time.Duration) {
	e, p := history.Event{Message: history.Discover, Address: m.hint}, m.message(dhcpv6.MessageTypeSolicit, now, m.hint)
	if m.rapid {
		e.Mode = history.Rapid
		p.AddOption(generic(dhcpv6.OptionRapidCommit))
	}
	m.send(e, p)
}

func (m *machine6) sendRequest(now time.Duration) {
	m.send(history.Event{Message: history.Request, Mode: history.Selecting, Address: m.best.address, Server: m.best.server},
		m.to(m.best.server, m.message(dhcpv6.MessageTypeRequest, now, m.best.address)))
}

func (m *machine6) sendConfirm(now time.Duration) {
	m.send(history.Event{Message: history.Request, Mode: history.Rebooting, Address: m.lease.address}, m.message(dhcpv6.MessageTypeConfirm, now, m.lease.address))
}

// message begins one of the program that runs.
func (m *machine6) message(kind dhcpv6.MessageType, now time.Duration, asked netip.Addr) *dhcpv6.Message {
	p := request6(kind, m.xid, m.as, now-m.begun, asked)
	program6(p, m.program)
	return p
}

// to names the server that a message is for.
func (m *machine6) to(server netip.Addr, p *dhcpv6.Message) *dhcpv6.Message {
	p.AddOption(generic(dhcpv6.OptionServerID, []byte(m.sim.six.duids[server])...))
	return p
}

// send sends a message to all servers, and has the machine wait for the answer.
func (m *machine6) send(e history.Event, p *dhcpv6.Message) {
	m.sim.wake(m, m.again.next(m.random))
	m.say(e, p)
}

func (m *machine6) say(e history.Event, p *dhcpv6.Message) {
	m.note(e)
	for range m.sim.copies() {
		m.sim.wire.send6(m.network, m.mac, m.as.from, p)
	}
}

func (m *machine6) note(e history.Event) {
	e.Machine, e.MAC, e.Network, e.XID, e.Six = m.id, m.mac, m.network.Name, m.xid, true
	m.sim.note(e)
}

// receive takes an answer to what the machine asked last. server is an address of who sends it, from where the packet came.
func (m *machine6) receive(now time.Duration, r reply6, server, from netip.Addr) {
	e := history.Event{Received: true, Message: history.ACK, Address: r.address, Server: server, From: from, Lease: r.lease}
	switch {
	case m.role == liar:
		m.caught(r, e)
	case r.kind == dhcpv6.MessageTypeAdvertise:
		if m.state == selecting {
			m.advertised(now, r, e)
		}
	case m.state == selecting && m.rapid && r.rapid && r.address.IsValid(), m.state == requesting && r.address.IsValid():
		m.note(e)
		m.acknowledged(now, r, server)
	case m.state == requesting && (r.status == iana.StatusNoAddrsAvail || r.status == iana.StatusNotOnLink):
		m.refuse(e)
		m.anew()
	case m.state == rebooting && r.status == iana.StatusSuccess:
		e.Address = m.lease.address
		m.note(e)
		m.settle(now)
	case m.state == rebooting && r.status == iana.StatusNotOnLink:
		m.refuse(e)
		m.lose()
		m.anew()
	case m.state == renewing || m.state == rebinding:
		m.renewed(now, r, e)
	case m.state == leaving && m.said != 0:
		m.left(now)
	case m.state == bound && m.refused(r): // another server said yes before
		m.refuse(e)
	}
}

// refused says whether an answer takes the machine's address away, or knows nothing of it.
func (m *machine6) refused(r reply6) bool {
	return r.status == iana.StatusNoBinding || r.status == iana.StatusNotOnLink || slices.Contains(r.taken, m.lease.address)
}

func (m *machine6) refuse(e history.Event) {
	e.Message, e.Address, e.Lease = history.NAK, netip.Addr{}, 0
	m.note(e)
	m.sim.six.counts["refusals"]++
}

// anew has the program begin anew in a moment.
func (m *machine6) anew() {
	m.state = waiting
	m.sim.wake(m, m.between(100*time.Millisecond, time.Second))
}

// advertised weighs an offer. A machine takes the one of the highest preference that comes before it would repeat itself, and
// none that waits for others if that is the highest there is; some firmware takes the first one at all (RFC 8415 §18.2.9).
func (m *machine6) advertised(now time.Duration, r reply6, e history.Event) {
	if !r.address.IsValid() {
		m.sim.six.counts["ADVERTISEs without an address"]++
		return
	}
	e.Message = history.Offer
	m.note(e)
	if m.best.address.IsValid() && r.preference <= m.best.preference {
		return
	}
	m.best = advert{r.address, e.Server, r.preference}
	if m.again.sent > 1 || r.preference == 255 || m.chance(0.3) {
		m.step(now)
	}
}

// renewed does as a REPLY to a RENEW or REBIND says (RFC 8415 §18.2.10.1).
func (m *machine6) renewed(now time.Duration, r reply6, e history.Event) {
	had, refused := m.lease.address, m.refused(r)
	if refused {
		m.refuse(e)
		m.lose()
	}
	switch {
	case r.address.IsValid():
		m.note(e)
		m.acknowledged(now, r, e.Server)
	case r.status == iana.StatusNoBinding: // the server may know better when it is asked anew
		m.request(now, had, e.Server)
	case refused:
		m.anew()
	}
}

// acknowledged has what a REPLY gives. Times count from now on.
func (m *machine6) acknowledged(now time.Duration, r reply6, server netip.Addr) {
	if r.t1 <= 0 || r.t1 > r.lease {
		r.t1 = r.lease / 2
	}
	if r.t2 < r.t1 || r.t2 > r.lease {
		r.t2 = r.lease * 4 / 5
	}
	m.hint = netip.Addr{}
	m.lease = lease{address: r.address, server: server, t1: now + r.t1, t2: now + r.t2, until: now + r.lease, asked: now}
	if m.program == system {
		m.had[m.network.Name] = m.lease
	}
	m.settle(now)
}

// settle goes on with an address.
func (m *machine6) settle(now time.Duration) {
	m.state = bound
	m.sim.wake(m, m.pause(now, m.pace()))
}

// lose forgets the address.
func (m *machine6) lose() {
	m.lease = lease{}
	delete(m.had, m.network.Name)
}
