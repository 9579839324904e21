package pool

import (
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// machine is a client as RFC 2131 has it (figure 5).
type machine struct {
	w   *world
	mac string
	in  chan *dhcpv4.DHCPv4
	xid uint32

	address, server netip.Addr
	until           time.Time // when the lease ends
	t1              time.Duration
}

func (m *machine) run() {
	defer m.drop()
	for m.going() {
		switch {
		case !m.address.IsValid():
			if !m.dora() {
				m.sleep(m.w.between(time.Second, 5*time.Second))
				continue
			}
		case m.w.isFaulty() && m.w.chance(15):
			m.release()
			m.sleep(m.w.between(time.Second, time.Minute))
			continue
		case m.w.isFaulty() && m.w.chance(15): // it is switched off and on
			was := m.address
			m.drop()
			m.sleep(m.w.between(time.Second, 20*time.Minute))
			m.w.count("reboots")
			m.ask(packet{message: request, asked: was.String()}, "", was)
		case m.w.isFaulty() && m.w.chance(3):
			m.w.count("declines")
			was, server := m.address, m.server
			m.drop()
			m.xid++
			m.w.send(m, packet{message: decline, mac: m.mac, xid: m.xid, asked: was.String(), server: server.String()}, "")
			m.sleep(10 * time.Second)
		}
		if m.address.IsValid() {
			m.keep()
		}
	}
}

func (m *machine) going() bool {
	select {
	case <-m.w.ended:
		return false
	default:
		return true
	}
}

func (m *machine) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-m.w.ended:
	}
}

// dora gets a lease.
func (m *machine) dora() bool {
	m.drain()
	m.xid++
	m.w.send(m, packet{message: discover, mac: m.mac, xid: m.xid}, "")
	offer := m.hear(dhcpv4.MessageTypeOffer, 2*time.Second)
	if offer == nil {
		return false
	}
	address, _ := netip.AddrFromSlice(offer.YourIPAddr.To4())
	server, _ := netip.AddrFromSlice(offer.ServerIdentifier().To4())
	return m.ask(packet{message: request, asked: address.String(), server: server.String()}, "", address)
}

// ask sends a REQUEST some times.
func (m *machine) ask(p packet, only string, address netip.Addr) bool {
	m.drain()
	m.xid++
	p.mac, p.xid = m.mac, m.xid
	for range 3 {
		sent := time.Now()
		m.w.send(m, p, only)
		reply := m.hear(0, 4*time.Second)
		if reply == nil {
			continue
		}
		if reply.MessageType() == dhcpv4.MessageTypeNak {
			m.w.count("naks")
			m.drop()
			return false
		}
		got, _ := netip.AddrFromSlice(reply.YourIPAddr.To4())
		if got != address {
			m.w.t.Errorf("%s asked for %s and got %s", m.mac, address, got)
		}
		m.have(address, sent.Add(reply.IPAddressLeaseTime(0)))
		m.server, _ = netip.AddrFromSlice(reply.ServerIdentifier().To4())
		m.t1 = reply.IPAddressRenewalTime(0)
		return true
	}
	return false
}

// hear waits for an answer to the transaction of now: an OFFER, or what ends a REQUEST.
func (m *machine) hear(kind dhcpv4.MessageType, wait time.Duration) *dhcpv4.DHCPv4 {
	timer := time.After(wait)
	for {
		select {
		case r := <-m.in:
			if id := uint32(r.TransactionID[0])<<24 | uint32(r.TransactionID[1])<<16 | uint32(r.TransactionID[2])<<8 | uint32(r.TransactionID[3]); id != m.xid {
				continue
			}
			if got := r.MessageType(); got == kind || kind == 0 && got != dhcpv4.MessageTypeOffer {
				return r
			}
		case <-timer:
			return nil
		case <-m.w.ended:
			return nil
		}
	}
}

func (m *machine) drain() {
	for len(m.in) > 0 {
		<-m.in
	}
}

// keep renews, and gives the address up when its time is over.
func (m *machine) keep() {
	m.sleep(m.t1)
	for m.going() && m.address.IsValid() {
		only := m.server.String()
		if time.Until(m.until) < 7*time.Minute {
			only = ""
		}
		if m.ask(packet{message: request, ciaddr: m.address.String(), to: only}, only, m.address) {
			m.w.count("renewals")
			return
		}
		if !m.address.IsValid() {
			return
		}
		if left := time.Until(m.until); left > 0 {
			m.sleep(min(max(left/2, time.Second), left))
		}
		if !time.Now().Before(m.until) {
			m.w.count("run out")
			m.drop()
		}
	}
}

func (m *machine) release() {
	m.w.count("releases")
	address, server := m.address, m.server
	m.drop()
	m.xid++
	m.w.send(m, packet{message: release, mac: m.mac, xid: m.xid, ciaddr: address.String(), server: server.String(), to: server.String()}, server.String())
}

// have notes that the client uses an address now: nobody else does.
func (m *machine) have(a netip.Addr, until time.Time) {
	if !time.Now().Before(until) {
		return
	}
	m.drop()
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if other := m.w.held[a]; other != nil && time.Now().Before(other.until) {
		m.w.t.Errorf("%s and %s both have %s", m.mac, other.mac, a)
	}
	m.address, m.until = a, until
	m.w.held[a] = m
}

func (m *machine) drop() {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if m.w.held[m.address] == m {
		delete(m.w.held, m.address)
	}
	m.address = netip.Addr{}
}
