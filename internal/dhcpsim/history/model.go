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
	m.Stats.ACKs, m.Stats.ServersThatGave = map[Mode]int{}, map[netip.Addr]int{}
	for _, n := range networks {
		m.networks[n.Name] = n
	}
	return m
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
	if !e.Received {
		m.sent(e)
		return
	}
	m.Stats.Received++
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
		m.Stats.Offers++
		if n, ok := m.networks[e.Network]; ok && !n.gives(e.Address) {
			m.accuse(Outside, e, []Event{q}, "%s is in no pool of %s", e.Address, e.Network)
		}
		if _, ok := m.other(e); ok {
			m.Stats.OtherOffers++
		}
	case ACK:
		m.acknowledged(e, q)
	case NAK:
		m.refused(e, q)
	}
}

func (m *Model) sent(e Event) {
	m.Stats.Sent++
	switch e.Message {
	case Discover, Request:
		m.asked[e.Machine] = e
	case Release, Decline:
		if e.Message == Release {
			m.Stats.Releases++
		} else {
			m.Stats.Declines++
		}
		m.drop(spot{e.Network, e.Address}, e.MAC)
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
	s := spot{e.Network, e.Address}
	m.Stats.ACKs[q.Mode]++
	m.Stats.ServersThatGave[e.Server]++
	m.chosen(e, q)
	if q.Address != e.Address {
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
	until := q.At + e.Lease
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
		m.Stats.Addresses++
	case before != e.MAC:
		m.Stats.Passed++
	case has:
		m.Stats.Kept++
	default:
		m.Stats.Again++
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

func (m *Model) refused(e, q Event) {
	m.Stats.NAKs++
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
		m.Stats.Contradicted++ // the first answer counts
		return
	}
	delete(m.holds[s], e.Machine)
}

// chosen checks that an answer to a choice comes from whom was chosen.
func (m *Model) chosen(e, q Event) {
	if q.Mode == Selecting && q.Server.IsValid() && e.Server != q.Server {
		m.accuse(WrongServer, e, []Event{q}, "it chose %s and %s answers", q.Server, e.Server)
	}
}
