package dhcpsim

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// lie is one message, or many, of somebody who wants what is others'.
func (m *machine6) lie(now time.Duration) {
	if m.sim.calm {
		return
	}
	m.sim.wake(m, m.between(200*time.Millisecond, 3*time.Second))
	m.program = system
	m.enter(now, requesting, requests)
	victim := m.victim()
	if victim == nil {
		return
	}
	m.lease = victim.lease
	m.as.from = ofMAC(m.mac) // who hides it, and takes another's DUID, is the other: nobody could tell
	address, server := victim.lease.address, victim.lease.server
	what := "its own name"
	if m.chance(0.5) {
		what = "the other's name"
		m.as.duid, m.as.iaid = victim.as.duid, victim.as.iaid
	}
	said := func(lie string) { m.sim.six.counts["lie: "+lie]++ }
	claim := func(message history.Message, mode history.Mode, kind dhcpv6.MessageType, names bool) {
		said(history.Event{Six: true, Message: message, Mode: mode}.Name() + " with another's address and " + what)
		e, p := history.Event{Message: message, Mode: mode, Address: address}, m.message(kind, now, address)
		m.said = message
		if names {
			e.Server = server
			m.to(server, p)
		}
		if mode == history.Rapid {
			p.AddOption(generic(dhcpv6.OptionRapidCommit))
		}
		m.say(e, p)
	}
	switch m.random.IntN(10) {
	case 0:
		claim(history.Request, history.Selecting, dhcpv6.MessageTypeRequest, true)
	case 1:
		claim(history.Request, history.Renewing, dhcpv6.MessageTypeRenew, true)
	case 2:
		claim(history.Request, history.Rebinding, dhcpv6.MessageTypeRebind, false)
	case 3:
		claim(history.Request, history.Rebooting, dhcpv6.MessageTypeConfirm, false)
	case 4:
		claim(history.Discover, history.Rapid, dhcpv6.MessageTypeSolicit, false)
	case 5:
		claim(history.Release, history.None, dhcpv6.MessageTypeRelease, true)
	case 6:
		claim(history.Decline, history.None, dhcpv6.MessageTypeDecline, true)
	case 7:
		said("malformed packet")
		m.forgetXID()
		m.sim.wire.raw6(m.malformed(now))
	case 8:
		said("relay agent that there is not")
		m.forgetXID()
		elsewhere := m.network
		elsewhere.Relay = netip.MustParseAddr("2001:db8::1")
		m.sim.wire.send6(elsewhere, m.mac, m.as.from, m.message(dhcpv6.MessageTypeSolicit, now, netip.Addr{}))
	case 9:
		said("flood of SOLICITs of made-up machines")
		m.flood()
	}
}

// caught takes what a liar is told.
func (m *machine6) caught(r reply6, e history.Event) {
	if m.said == history.Release || m.said == history.Decline {
		return
	}
	if m.refused(r) {
		m.refuse(e)
	}
	if r.address.IsValid() && r.kind == dhcpv6.MessageTypeReply {
		m.note(e)
	}
}

func (m *machine6) forgetXID() { m.sim.six.xids[m.xid] = flood }

// victim is another machine in the network that has an address.
func (m *machine6) victim() *machine6 {
	all := m.sim.six.machines
	for range 20 {
		other := all[m.random.IntN(len(all))]
		if other.role != liar && other.mac != m.mac && other.network.Name == m.network.Name && other.has(m.sim.now()) {
			return other
		}
	}
	return nil
}

// malformed is something that is no proper packet.
func (m *machine6) malformed(now time.Duration) []byte {
	p := m.message(dhcpv6.MessageTypeSolicit, now, netip.Addr{})
	good := relayed6(p, m.network, m.mac, m.as.from)
	b := good.ToBytes()
	switch m.random.IntN(6) {
	case 0: // a message that is longer than the packet
		return b[:len(b)-1-m.random.IntN(len(b)-2)]
	case 1: // relay agents in a circle
		var all dhcpv6.DHCPv6 = p
		for range 12 {
			all = relayed6(all, m.network, m.mac, m.as.from)
		}
		return all.ToBytes()
	case 2: // an association of three bytes, and a DUID of none
		p.AddOption(generic(dhcpv6.OptionIANA, 1, 2, 3))
		p.UpdateOption(generic(dhcpv6.OptionClientID))
	case 3: // nobody's
		p.Options.Del(dhcpv6.OptionClientID)
	case 4: // a relay agent with nothing to say
		good.Options.Del(dhcpv6.OptionRelayMsg)
		return good.ToBytes()
	case 5:
		garbage := make([]byte, 1+m.random.IntN(400))
		for i := range garbage {
			garbage[i] = byte(m.random.Uint32())
		}
		garbage[0] = byte(m.random.IntN(14))
		return garbage
	}
	return relayed6(p, m.network, m.mac, m.as.from).ToBytes()
}

// flood asks in the names of machines that there are not, and never takes what is advertised.
func (m *machine6) flood() {
	for range floodSize {
		m.newXID()
		m.forgetXID()
		mac := history.MAC{ownMAC, forgedMAC}
		binary.BigEndian.PutUint32(mac[2:], m.random.Uint32())
		who := identity{duid: string(append([]byte{0, duidLL, 0, 1}, mac[:]...)), iaid: [4]byte(mac[2:]), from: ofMAC(mac)}
		m.sim.six.counts["SOLICITs of floods"]++
		m.sim.wire.send6(m.network, mac, who.from, request6(dhcpv6.MessageTypeSolicit, m.xid, who, 0))
	}
}
