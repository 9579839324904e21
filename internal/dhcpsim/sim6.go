package dhcpsim

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// six is what a simulation has of IPv6.
type six struct {
	machines []*machine6
	xids     map[uint32]int             // of all that was ever asked, to its machine
	servers  map[string]netip.Addr      // by DUID: the address that a relay agent heard a server from first
	duids    map[netip.Addr]string      // the other way round
	links    map[netip.Addr]history.MAC // of machines on the segment, by their addresses of the link
	counts   map[string]int
	freed    map[string]netip.Addr // by network: what was given back last
	replaced int
	macs     map[string]bool // of all machines that there are or were
}

// add6 makes the machines of IPv6. Their numbers follow those of IPv4's.
func (s *Sim) add6() {
	s.six = six{xids: map[uint32]int{}, servers: map[string]netip.Addr{}, duids: map[netip.Addr]string{}, links: map[netip.Addr]history.MAC{}, counts: map[string]int{},
		freed: map[string]netip.Addr{}, macs: map[string]bool{}}
	relayed, direct := places(s.o.Networks, true)
	for k := range s.o.Six + s.o.SixDirect {
		m := &machine6{body: s.body(len(s.actors), relayed)}
		if m.mac = macOf(m.id); k >= s.o.Six {
			m.networks = direct
		}
		m.network = m.networks[m.random.IntN(len(m.networks))]
		if k < s.o.Six {
			s.assign6(m, k)
		} else {
			s.six.links[ofMAC(m.mac)] = m.mac
		}
		s.six.macs[m.mac.String()] = true
		s.six.machines, s.actors = append(s.six.machines, m), append(s.actors, m)
	}
}

// assign6 says what a machine is. Half of those that are nothing in particular are a machine of IPv4, too.
func (s *Sim) assign6(m *machine6, k int) {
	if s.o.Honest {
		return
	}
	switch share := k % 30; {
	case share < 3:
		m.role = mover
	case share >= 11 && share < 19: // pairs
		m.role = clone
		if share%2 == 0 {
			m.mac, m.network = s.six.machines[k-1].mac, s.six.machines[k-1].network
		}
	case share == 29:
		m.role = liar
	case share%2 == 0 && k < len(s.machines) && s.machines[k].role == plain:
		m.mac = s.machines[k].mac
	}
}

// Counts6 are what machines of IPv6 did beside what their messages tell (history.Model), by kind.
func (s *Sim) Counts6() map[string]int { return s.six.counts }

func (s *Sim) receive6(in inbound) {
	if in.who.IsValid() {
		if mac, ok := s.six.links[in.who]; ok {
			s.wire.segment.Write(neighbour(in.mac, in.from, mac, in.who))
		}
		return
	}
	r, ok := parse6(in.payload)
	if !ok {
		s.six.counts["answers that cannot be read"]++
		s.nobodys(r, in.from)
		return
	}
	server, from := s.serverOf(r, in.from)
	id, known := s.six.xids[r.xid]
	if !known {
		s.nobodys(r, server)
		return
	}
	if s.frozen || id == flood || s.lost() {
		return
	}
	m := s.actors[id].(*machine6)
	switch {
	case m.xid != r.xid:
		s.six.counts["answers that came too late"]++
	case r.link != m.network.Relay || r.link.IsValid() && (r.peer != m.as.from || r.circuit != m.network.Circuit):
		s.six.counts["answers to where a machine was, or by another way"]++
	case r.client != m.as.duid || r.iaid != m.as.iaid && r.iaid != [4]byte{}:
		s.six.counts["answers to another association"]++
		s.nobodys(r, server)
	case !server.IsValid():
		s.six.counts["answers of servers that no relay agent has heard yet"]++
	default:
		m.receive(s.now(), r, server, from)
	}
}

// nobodys notes an answer that nobody takes for one, which the model finds fault with.
func (s *Sim) nobodys(r reply6, server netip.Addr) {
	e := history.Event{Received: true, Six: true, Machine: -1, Message: history.ACK, XID: r.xid, Address: r.address, Server: server}
	if r.kind == dhcpv6.MessageTypeAdvertise {
		e.Message = history.Offer
	}
	s.note(e)
}

// serverOf is how the history calls a server: by the address that it had first. from is where a packet came from, if that is
// an address as relay agents know it.
func (s *Sim) serverOf(r reply6, at netip.Addr) (server, from netip.Addr) {
	if r.link.IsValid() {
		from = at
		if _, known := s.six.servers[r.server]; !known {
			s.six.servers[r.server], s.six.duids[at] = at, r.server
		}
	}
	return s.six.servers[r.server], from
}
