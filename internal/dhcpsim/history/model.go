package history

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Network is where machines are, and what may be given there.
type Network struct {
	Name  string
	Pools [][2]netip.Addr // from, to
}

func (n Network) gives(a netip.Addr) bool {
	return slices.ContainsFunc(n.Pools, func(p [2]netip.Addr) bool { return p[0].Compare(a) <= 0 && a.Compare(p[1]) <= 0 })
}

// Stats count what a history had in it; a run whose counts are zero has checked nothing.
type Stats struct {
	Sent, Received  int
	Messages        map[string]int // of both, by Event.Name
	ACKs            map[Mode]int
	NAKs            int
	Offers          int
	Releases        int
	Declines        int
	Addresses       int // that were given at least once
	Passed          int // that went from one client to another
	Kept            int // ACKs for an address that the client still had
	Again           int // ACKs for an address that the client had before, after its time
	OtherOffers     int // OFFERs of another address than the client had: allowed, and not nice
	Contradicted    int // NAKs after an ACK to the same REQUEST, from another server
	ServersThatGave map[netip.Addr]int
}

// hold is a machine's belief that an address is its own.
type hold struct {
	mac   MAC
	since time.Duration
	until time.Duration
	ack   Event
}

type spot struct {
	network string
	address netip.Addr
}

// tenant is a client in a network: it has one address there.
type tenant struct {
	network string
	mac     MAC
}

// Model follows a history.
type Model struct {
	Stats      Stats
	Six        Stats // of DHCPv6; Stats is of IPv4 only
	Violations []Violation

	networks map[string]Network
	holds    map[spot]map[int]hold // by machine
	at       map[tenant]spot       // the address that a client was given last in a network
	asked    map[int]Event         // the last REQUEST or DISCOVER of each machine: it takes no answers to what it asked before
	last     map[spot]MAC          // who had an address last
	now      time.Duration
}

// New makes a model of some networks.
func New(networks ...Network) *Model {
	m := &Model{networks: map[string]Network{}, holds: map[spot]map[int]hold{}, at: map[tenant]spot{}, asked: map[int]Event{}, last: map[spot]MAC{}}
	m.Stats, m.Six = newStats(), newStats()
	for _, n := range networks {
		m.networks[n.Name] = n
	}
	return m
}

func newStats() Stats {
	return Stats{Messages: map[string]int{}, ACKs: map[Mode]int{}, ServersThatGave: map[netip.Addr]int{}}
}

// stats are those of an event's family.
func (m *Model) stats(e Event) *Stats {
	if e.Six {
		return &m.Six
	}
	return &m.Stats
}

// Check follows a whole history.
func Check(events []Event, networks ...Network) *Model {
	m := New(networks...)
	for _, e := range events {
		m.Add(e)
	}
	return m
}

func (m *Model) accuse(kind Kind, e Event, because []Event, format string, args ...any) {
	m.Violations = append(m.Violations, Violation{kind, e.At, fmt.Sprintf(format, args...), append(because, e)})
}

// Add takes the next event.
func (m *Model) Add(e Event) {
	m.now = max(m.now, e.At)
	stats := m.stats(e)
	stats.Messages[e.Name()]++
	if !e.Received {
		stats.Sent++
		m.sent(e)
		return
	}
	stats.Received++
	q, known := m.asked[e.Machine]
	if !known || q.XID != e.XID {
		m.accuse(Unasked, e, nil, "nobody asked with xid %08x", e.XID)
		return
	}
	if e.From.IsValid() && e.From != e.Server {
		m.accuse(WrongServer, e, []Event{q}, "it comes from %s and says that it is of %s", e.From, e.Server)
	}
	switch e.Message {
	case Offer:
		stats.Offers++
		if n, ok := m.networks[e.Network]; ok && !n.gives(e.Address) {
			m.accuse(Outside, e, []Event{q}, "%s is in no pool of %s", e.Address, e.Network)
		}
		if _, ok := m.other(e); ok {
			stats.OtherOffers++
		}
	case ACK:
		if e.Six && q.Mode == Rebooting {
			m.confirmed(e, q)
			return
		}
		m.acknowledged(e, q)
	case NAK:
		m.refused(e, q)
	}
}

func (m *Model) sent(e Event) {
	s := spot{e.Network, e.Address}
	switch e.Message {
	case Discover, Request:
		m.asked[e.Machine] = e
	case Release:
		m.stats(e).Releases++
		if e.Six { // it is of one association (RFC 8415 §18.2.7), and each machine has its own
			delete(m.holds[s], e.Machine)
			return
		}
		m.drop(s, e.MAC)
	case Decline:
		m.stats(e).Declines++
		m.drop(s, e.MAC)
	}
}

// drop ends a client's belief, that of all machines with its MAC: the server takes them for one.
func (m *Model) drop(s spot, mac MAC) {
	for machine, h := range m.holds[s] {
		if h.mac == mac {
			delete(m.holds[s], machine)
		}
	}
}

// held is the longest belief of a client's machines in an address at a time.
func (m *Model) held(s spot, mac MAC, at time.Duration) (hold, bool) {
	var best hold
	found := false
	for _, h := range m.holds[s] {
		if h.mac == mac && h.until > at && (!found || h.until > best.until) {
			best, found = h, true
		}
	}
	return best, found
}

// other is what the client of an event has in its network, when that is another address than the event's.
func (m *Model) other(e Event) (hold, bool) {
	s := m.at[tenant{e.Network, e.MAC}]
	if s.address == e.Address {
		return hold{}, false
	}
	return m.held(s, e.MAC, e.At)
}

func (m *Model) acknowledged(e, q Event) {
	s, stats := spot{e.Network, e.Address}, m.stats(e)
	stats.ACKs[q.Mode]++
	stats.ServersThatGave[e.Server]++
	m.chosen(e, q)
	if q.Address != e.Address && !e.Six { // a server of DHCPv6 may give another one (RFC 8415 §18.3.2)
		m.accuse(WrongAddress, e, []Event{q}, "it asked for %s and got %s", q.Address, e.Address)
	}
	if e.Lease <= 0 {
		m.accuse(NoTime, e, []Event{q}, "%s is acknowledged for no time", e.Address)
	}
	if n, ok := m.networks[e.Network]; ok && !n.gives(e.Address) {
		m.accuse(Outside, e, []Event{q}, "%s is in no pool of %s", e.Address, e.Network)
	}
	if h, ok := m.other(e); ok {
		m.accuse(Moved, e, []Event{h.ack, q}, "it has %s for another %.3f s", h.ack.Address, (h.until - e.At).Seconds())
	}
	until := m.end(s, e, q)
	for machine, h := range m.holds[s] {
		switch {
		case h.until <= e.At:
			delete(m.holds[s], machine)
		case h.mac != e.MAC && until > e.At:
			m.accuse(TwoClients, e, []Event{h.ack, q}, "%s is %s's for another %.3f s, and is given to %s", e.Address, h.mac, (h.until - e.At).Seconds(), e.MAC)
		}
	}
	before, had := m.last[s]
	switch _, has := m.held(s, e.MAC, e.At); {
	case !had:
		stats.Addresses++
	case before != e.MAC:
		stats.Passed++
	case has:
		stats.Kept++
	default:
		stats.Again++
	}
	m.last[s] = e.MAC
	client := tenant{e.Network, e.MAC}
	if was, ok := m.at[client]; ok && was != s {
		delete(m.holds[was], e.Machine)
	}
	if m.holds[s] == nil {
		m.holds[s] = map[int]hold{}
	}
	since := e.At
	if h, ok := m.holds[s][e.Machine]; ok {
		since = h.since
	}
	m.holds[s][e.Machine] = hold{e.MAC, since, until, e}
	m.at[client] = s
}

// end is until when a client believes to have what it is given. Clients of DHCPv6 count from when they hear of it: RFC 8415 does
// not say otherwise. And what a program was told before stays true for a machine whose next program, another association, is told
// less; only who prolongs what it has takes less for it.
func (m *Model) end(s spot, e, q Event) time.Duration {
	if !e.Six {
		return q.At + e.Lease
	}
	until := e.At + e.Lease
	if h, ok := m.holds[s][e.Machine]; ok && h.mac == e.MAC && q.Mode != Renewing && q.Mode != Rebinding {
		until = max(until, h.until)
	}
	return until
}

// confirmed is a client of DHCPv6 that goes on with what it has: a REPLY to CONFIRM says that the address is of the network, and
// promises nothing (RFC 8415 §18.3.3).
func (m *Model) confirmed(e, q Event) {
	m.Six.ACKs[Rebooting]++
	if n, ok := m.networks[e.Network]; ok && !n.gives(q.Address) {
		m.accuse(Outside, e, []Event{q}, "%s is confirmed, and in no pool of %s", q.Address, e.Network)
	}
}

func (m *Model) refused(e, q Event) {
	m.stats(e).NAKs++
	m.chosen(e, q)
	if q.Message != Request {
		return // it has asked for something else meanwhile
	}
	s := spot{e.Network, q.Address}
	// In time is what had time when it asked and still has when it is answered.
	h, ok := m.held(s, e.MAC, e.At)
	if ok && h.since <= q.At {
		m.accuse(Refused, e, []Event{h.ack, q}, "%s is its own for another %.3f s", q.Address, (h.until - e.At).Seconds())
	}
	if ok && h.ack.XID == e.XID {
		m.stats(e).Contradicted++ // the first answer counts
		return
	}
	delete(m.holds[s], e.Machine)
}

// chosen checks that an answer to a choice comes from whom was chosen.
func (m *Model) chosen(e, q Event) {
	if q.Server.IsValid() && e.Server != q.Server {
		m.accuse(WrongServer, e, []Event{q}, "it chose %s and %s answers", q.Server, e.Server)
	}
}
