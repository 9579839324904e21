package pool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/kiln-farm/kiln/edge/dhcp6"
)

// world6 is world with clients of IPv6.
type world6 struct {
	*world
	held6 map[netip.Addr]*machine6 // by whom, as clients believe
}

// machine6 is a client as RFC 8415 has it.
type machine6 struct {
	w    *world6
	mac  string // "-": it hides it
	duid string
	name string // for the farm
	ia   byte
	in   chan answer6
	xid  uint32
	last atomic.Uint32 // xid, for edges

	address       netip.Addr
	server        dhcp6.DUID
	edge          int
	until, t1, t2 time.Time
}

// answer6 is what an edge says.
type answer6 struct {
	*dhcpv6.Message
	edge int
}

func (w *world6) send(m *machine6, p packet6) {
	c := p.classify(w.t)
	for i, e := range w.edges {
		if dhcp6.Check(c, serverOf(i)) != nil {
			continue
		}
		copies := 1
		if w.isFaulty() && w.chance(10) {
			copies = 2
		}
		for range copies {
			if w.isFaulty() && w.chance(10) {
				continue
			}
			w.all.Go(func() {
				time.Sleep(w.late())
				w.answer(m, c, e, i)
			})
		}
	}
}

func serverOf(edge int) dhcp6.DUID { return dhcp6.ServerDUID(fmt.Sprint("edge", edge)) }

// answer is what an edge does, and what of it reaches the client.
func (w *world6) answer(m *machine6, c dhcp6.Client, e edge, i int) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	a := e.Decide6(ctx, c, nil, "", link6)
	reply, err := dhcp6.Reply(c, a.Plan, serverOf(i))
	if err != nil {
		return
	}
	message := reply.Message
	// What it asked before it gave its address up may be answered after that: it takes no notice.
	if message.MessageType == dhcpv6.MessageTypeReply && xidOf(message) == m.last.Load() {
		for _, one := range leases(message) {
			w.checkCommitted(m, one)
		}
	}
	if w.isFaulty() && w.chance(10) {
		return
	}
	time.Sleep(w.late())
	select {
	case m.in <- answer6{message, i}:
	default:
	}
}

// leases are the addresses in a message.
func leases(m *dhcpv6.Message) (all []*dhcpv6.OptIAAddress) {
	for _, ia := range m.Options.IANA() {
		all = append(all, ia.Options.Addresses()...)
	}
	return all
}

// checkCommitted: what a client is told is committed, and for longer.
func (w *world6) checkCommitted(m *machine6, one *dhcpv6.OptIAAddress) {
	if one.ValidLifetime == 0 {
		return
	}
	address, _ := netip.AddrFromSlice(one.IPv6Addr)
	if client, left := w.farm.binding("a", address); client != m.name || left < one.ValidLifetime {
		w.t.Errorf("%s was told to have %s for %s; committed is that %q has it for %s", m.name, address, one.ValidLifetime, client, left)
	}
	w.mu.Lock()
	w.acks++
	w.mu.Unlock()
}

func (m *machine6) packet(message dhcpv6.MessageType, asked ...netip.Addr) packet6 {
	p := packet6{message: message, mac: m.mac, duid: m.duid, ia: m.ia, xid: m.xid, server: m.server}
	for _, a := range asked {
		p.asked = append(p.asked, a.String())
	}
	return p
}

func (m *machine6) going() bool {
	select {
	case <-m.w.ended:
		return false
	default:
		return true
	}
}

func (m *machine6) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-m.w.ended:
	}
}

// next begins another transaction.
func (m *machine6) next() {
	m.xid++
	m.last.Store(m.xid)
}

func xidOf(m *dhcpv6.Message) uint32 {
	id := m.TransactionID
	return uint32(id[0])<<16 | uint32(id[1])<<8 | uint32(id[2])
}

// hear waits for an answer to the transaction of now.
func (m *machine6) hear(wait time.Duration) (answer6, bool) {
	timer := time.After(wait)
	for {
		select {
		case a := <-m.in:
			if xidOf(a.Message) == m.xid {
				return a, true
			}
		case <-timer:
			return answer6{}, false
		case <-m.w.ended:
			return answer6{}, false
		}
	}
}

// ask sends a message some times, until there is a REPLY.
func (m *machine6) ask(message dhcpv6.MessageType, asked ...netip.Addr) bool {
	m.next()
	for range 3 {
		sent := time.Now()
		m.w.send(m, m.packet(message, asked...))
		for a, ok := m.hear(4 * time.Second); ok; a, ok = m.hear(time.Second) {
			if a.MessageType != dhcpv6.MessageTypeReply {
				continue
			}
			m.take(a, sent)
			return true
		}
	}
	return false
}

// solicit gets an address, by two packets or four.
func (m *machine6) solicit() {
	m.next()
	sent := time.Now()
	p := m.packet(solicit)
	p.rapid = m.w.chance(30)
	m.w.send(m, p)
	a, ok := m.hear(2 * time.Second)
	switch {
	case !ok:
	case a.MessageType == dhcpv6.MessageTypeReply:
		m.take(a, sent)
	case len(leases(a.Message)) > 0:
		m.server, m.edge = serverOf(a.edge), a.edge
		address, _ := netip.AddrFromSlice(leases(a.Message)[0].IPv6Addr)
		m.ask(request6, address)
	}
}

// take does as a REPLY says.
func (m *machine6) take(a answer6, sent time.Time) {
	m.server, m.edge = serverOf(a.edge), a.edge
	for _, one := range leases(a.Message) {
		address, _ := netip.AddrFromSlice(one.IPv6Addr)
		if one.ValidLifetime > 0 {
			m.have(address, sent.Add(one.ValidLifetime))
			ia := a.Options.OneIANA()
			m.t1, m.t2 = sent.Add(ia.T1), sent.Add(ia.T2)
		} else if address == m.address {
			if time.Now().Before(m.until) {
				m.w.t.Errorf("%s had %s until %s, and is told to leave it", m.name, address, time.Until(m.until))
			}
			m.drop()
		}
	}
}

func (m *machine6) run(leaves bool) {
	for m.going() {
		faulty := m.w.isFaulty()
		switch {
		case leaves && !faulty:
			if m.address.IsValid() {
				m.giveUp(release6)
			}
			return
		case !m.address.IsValid():
			m.solicit()
			if !m.address.IsValid() {
				m.sleep(m.w.between(time.Second, time.Minute))
			}
			continue
		case leaves || faulty && m.w.chance(15):
			if leaves {
				m.sleep(m.w.between(time.Second, time.Hour))
			}
			m.giveUp(release6)
			m.sleep(m.w.between(time.Second, time.Minute))
			continue
		case faulty && m.w.chance(3):
			m.giveUp(decline6)
			m.sleep(10 * time.Second)
			continue
		case faulty && m.w.chance(15): // it is switched off and on, and its next program has another association
			m.w.count("reboots")
			was, until := m.address, m.until
			m.drop()
			m.sleep(m.w.between(time.Second, 20*time.Minute))
			if m.w.chance(50) && m.mac != "-" {
				m.ia++
			} else if m.ask(confirm, was) && time.Now().Before(until) {
				m.have(was, until)
			}
			continue
		}
		m.keep()
	}
}

// giveUp has the address no more, and then says so.
func (m *machine6) giveUp(message dhcpv6.MessageType) {
	m.w.count(message.String())
	address := m.address
	m.drop()
	m.next()
	m.w.send(m, m.packet(message, address))
}

// keep renews, and gives the address up when its time is over.
func (m *machine6) keep() {
	m.sleep(time.Until(m.t1))
	for m.going() && m.address.IsValid() {
		message := renew
		if time.Now().After(m.t2) {
			message = rebind
		}
		if m.ask(message, m.address) {
			m.w.count("renewals")
			return
		}
		if left := time.Until(m.until); left > 0 {
			m.sleep(min(max(left/4, time.Second), left))
		}
		if !time.Now().Before(m.until) {
			m.w.count("run out")
			m.drop()
		}
	}
}

// have notes that the client uses an address now: nobody else does.
func (m *machine6) have(a netip.Addr, until time.Time) {
	if !time.Now().Before(until) {
		return
	}
	if m.address == a && m.until.After(until) { // less than it had: so its programs take it, and the farm's promise still holds
		m.w.count("shorter")
	}
	m.drop()
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if other := m.w.held6[a]; other != nil && time.Now().Before(other.until) {
		m.w.t.Errorf("%s and %s both have %s", m.name, other.name, a)
	}
	m.address, m.until = a, until
	m.w.held6[a] = m
}

func (m *machine6) drop() {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if m.w.held6[m.address] == m {
		delete(m.w.held6, m.address)
	}
	m.address = netip.Addr{}
}

// watch looks from time to time whether the farm knows all that clients believe.
func (w *world6) watch() {
	for {
		select {
		case <-time.After(20 * time.Second):
		case <-w.ended:
			return
		}
		w.mu.Lock()
		believed := map[netip.Addr]string{}
		for a, m := range w.held6 {
			if time.Now().Before(m.until) {
				believed[a] = m.name
			}
		}
		w.mu.Unlock()
		for a, name := range believed {
			if client, _ := w.farm.binding("a", a); client != name && w.still(a, name) {
				w.t.Errorf("%s has %s, and the farm knows of %q", name, a, client)
			}
		}
	}
}

func (w *world6) still(a netip.Addr, name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.held6[a]
	return m != nil && m.name == name && time.Now().Before(m.until)
}

func TestNoAddressOfIPv6IsEverTwoClients(t *testing.T) {
	seeds := 2
	if n, err := strconv.Atoi(os.Getenv("KILN_POOL_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range seeds {
		for _, pool := range []string{"fd01::10-fd01::2d", "fd01::-fd01::ffff:ffff:ffff:ffff"} {
			t.Run(fmt.Sprint("seed ", seed, " pool ", pool), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { live6(t, uint64(seed), pool) })
			})
		}
	}
}

// live6 has 40 clients share a pool for twelve hours with three edges, and then 30 of them all get an address.
func live6(t *testing.T, seed uint64, pool string) {
	w := &world6{world: &world{t: t, farm: newTestFarm(t, room(subnetOf("a", "fd01::/64", pool))), random: rand.New(rand.NewPCG(seed, 6)), faults: true, what: map[string]int{}, ended: make(chan struct{})},
		held6: map[netip.Addr]*machine6{}}
	w.farm.delay = func() time.Duration {
		if w.isFaulty() && w.chance(1) {
			return w.between(time.Second, 5*time.Second)
		}
		return w.between(time.Millisecond, 10*time.Millisecond)
	}
	w.farm.again = func() time.Duration {
		if !w.isFaulty() || !w.chance(3) {
			return 0
		}
		return w.between(time.Millisecond, time.Minute)
	}
	for i := range 3 {
		w.edges = append(w.edges, newEdge(t, w.farm, fmt.Sprint("edge", i)))
	}
	var machines []*machine6
	for i := range 40 {
		m := &machine6{w: w, mac: fmt.Sprintf("02:00:00:00:00:%02x", i), in: make(chan answer6, 64)}
		if i%5 == 4 {
			m.mac, m.duid = "-", fmt.Sprintf("0002000000090%03x", i)
		}
		m.name = clientOf6(m.packet(solicit).classify(t), nil)
		machines = append(machines, m)
		w.all.Go(func() { m.run(i >= 30) })
	}
	var watching sync.WaitGroup
	watching.Go(w.watch)
	w.trouble()
	w.mu.Lock()
	w.faults = false
	w.mu.Unlock()
	time.Sleep(3 * time.Hour)
	without := 0
	w.mu.Lock()
	for _, m := range machines[:30] {
		if !m.address.IsValid() {
			without++
		}
	}
	t.Logf("%d REPLYs with addresses, %v; %d calls with %d commands", w.acks, w.what, w.farm.calls, w.farm.commands)
	w.mu.Unlock()
	if without > 0 {
		t.Errorf("%d of 30 clients have no address at the end", without)
	}
	close(w.ended)
	w.all.Wait()
	watching.Wait()
	for _, e := range w.edges {
		e.end()
	}
}
