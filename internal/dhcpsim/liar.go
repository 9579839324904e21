package dhcpsim

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

const (
	flood     = -2 // the machine of what a flood asks
	floodSize = 100
)

// lie is one packet, or many, of somebody who wants what is others'.
func (m *machine) lie(now time.Duration) {
	if m.sim.calm {
		return
	}
	m.sim.wake(m, m.between(200*time.Millisecond, 3*time.Second))
	m.program = system
	m.newXID()
	m.begun, m.asked = now, now
	victim := m.victim()
	if !victim.address.IsValid() {
		return
	}
	said := func(what string) { m.sim.counts["lie: "+what]++ }
	ask := m.packet(history.Request, now)
	switch m.random.IntN(9) {
	case 0:
		said("INIT-REBOOT with another's address")
		m.all(history.Event{Message: history.Request, Mode: history.Rebooting, Address: victim.address}, ask.address(optRequested, victim.address))
	case 1:
		said("REQUEST of another's address, with its server")
		m.all(history.Event{Message: history.Request, Mode: history.Selecting, Address: victim.address, Server: victim.server},
			ask.address(optRequested, victim.address).address(optServer, victim.server))
	case 2:
		said("REQUEST with a server that there is not")
		server := netip.AddrFrom4([4]byte{192, 0, 2, byte(m.random.IntN(256))})
		m.all(history.Event{Message: history.Request, Mode: history.Selecting, Address: victim.address, Server: server},
			ask.address(optRequested, victim.address).address(optServer, server))
	case 3:
		said("renewal of another's address")
		m.lease.server = victim.server
		m.one(history.Event{Message: history.Request, Mode: history.Renewing, Address: victim.address}, ask.from(victim.address))
	case 4:
		said("RELEASE of another's address")
		m.lease.server = victim.server
		m.one(history.Event{Message: history.Release, Address: victim.address, Server: victim.server},
			m.packet(history.Release, now).from(victim.address).address(optServer, victim.server))
	case 5:
		said("DECLINE of another's address")
		m.all(history.Event{Message: history.Decline, Address: victim.address, Server: victim.server},
			m.packet(history.Decline, now).address(optRequested, victim.address).address(optServer, victim.server))
	case 6:
		said("malformed packet")
		m.sim.wire.raw(m.network, m.malformed(now))
	case 7:
		said("relay agent that there is not")
		b := m.packet(history.Discover, now).bytes()
		m.forgetXID()
		m.sim.wire.raw(m.network, relayed(b, netip.AddrFrom4([4]byte{192, 0, 2, 1}), nil))
	case 8:
		said("flood of DISCOVERs from random MACs")
		m.flood(now)
	}
}

// forgetXID has answers to the transaction ignored.
func (m *machine) forgetXID() { m.sim.xids[m.xid] = flood }

// victim is the address of another machine in the network.
func (m *machine) victim() lease {
	for range 20 {
		other := m.sim.machines[m.random.IntN(len(m.sim.machines))]
		if other != m && other.mac != m.mac && other.network.Name == m.network.Name && other.has(m.sim.now()) {
			return other.lease
		}
	}
	return lease{}
}

// malformed is something that is no proper packet, most often because of option 82.
func (m *machine) malformed(now time.Duration) []byte {
	m.forgetXID()
	good := relayed(m.packet(history.Discover, now).bytes(), m.network.Relay, nil)
	end := header
	for good[end] != 255 {
		end += 2 + int(good[end+1])
	}
	switch m.random.IntN(6) {
	case 0: // a suboption that is longer than the option
		return append(good[:end], optRelay, 3, 1, 200, 'x', 255)
	case 1: // an option that is longer than the packet
		return append(good[:end], optRelay, 250, 1, 4, 'x')
	case 2: // an empty one, twice, and a link selection of one byte
		return append(good[:end], optRelay, 0, optRelay, 3, 5, 1, 9, 255)
	case 3: // a hardware address of 255 bytes
		good[2] = 255
		return good
	case 4:
		return good[:m.random.IntN(len(good))]
	}
	garbage := make([]byte, 20+m.random.IntN(400))
	for i := range garbage {
		garbage[i] = byte(m.random.Uint32())
	}
	return garbage
}

// flood asks in the names of machines that there are not, and never takes what is offered.
func (m *machine) flood(now time.Duration) {
	for range floodSize {
		m.newXID()
		m.forgetXID()
		var mac history.MAC
		binary.BigEndian.PutUint32(mac[2:], m.random.Uint32())
		mac[0], mac[1] = ownMAC, forgedMAC
		m.sim.counts["DISCOVERs of floods"]++
		m.sim.wire.broadcast(m.network, mac, request(history.Discover, m.xid, mac).waited(now-m.begun).bytes())
	}
}
