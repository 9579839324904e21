package history

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Belief is what a client has at the end of a history.
type Belief struct {
	Machine int
	MAC     MAC
	Network string
	Address netip.Addr
	Left    time.Duration
}

// Beliefs are what all machines have at a time after the last event, in the order of machines.
func (m *Model) Beliefs(at time.Duration) (all []Belief) {
	for s, holds := range m.holds {
		for machine, h := range holds {
			if h.until > at {
				all = append(all, Belief{machine, h.mac, s.network, s.address, h.until - at})
			}
		}
	}
	slices.SortFunc(all, func(a, b Belief) int {
		return cmp.Or(cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Network, b.Network), a.Address.Compare(b.Address))
	})
	return all
}

// Need says which machines must have an address at a time, and where.
func (m *Model) Need(at time.Duration, want map[int]string) {
	has := map[int]bool{}
	for _, b := range m.Beliefs(at) {
		if want[b.Machine] == b.Network {
			has[b.Machine] = true
		}
	}
	for machine, network := range want {
		if !has[machine] {
			m.Violations = append(m.Violations, Violation{Kind: Homeless, At: at, Text: fmt.Sprintf("machine %d has none in %s", machine, network)})
		}
	}
}

// Entry is a line of the farm's books.
type Entry struct {
	Network string
	Address netip.Addr
	MAC     string
	Bound   bool
	Left    time.Duration
}

// Compare compares the books with what clients believe at a time, which must not be before the books were read.
func (m *Model) Compare(at time.Duration, books []Entry) {
	byAddress := map[spot]Entry{}
	type owner struct{ network, mac string }
	byOwner := map[owner]Entry{}
	for _, e := range books {
		byAddress[spot{e.Network, e.Address}] = e
		if !e.Bound || e.Left <= 0 {
			continue
		}
		if other, ok := byOwner[owner{e.Network, e.MAC}]; ok {
			m.Violations = append(m.Violations, Violation{Kind: Doubled, At: at, Text: fmt.Sprintf("%s has %s and %s in %s", e.MAC, other.Address, e.Address, e.Network)})
		}
		byOwner[owner{e.Network, e.MAC}] = e
	}
	for _, b := range m.Beliefs(at) {
		e, ok := byAddress[spot{b.Network, b.Address}]
		why := ""
		switch {
		case !ok:
			why = "it is not in the books"
		case !e.Bound:
			why = "it is free there"
		case e.MAC != b.MAC.String():
			why = "it is of " + e.MAC + " there"
		case e.Left < b.Left:
			why = fmt.Sprintf("it ends %.3f s too early there", (b.Left - e.Left).Seconds())
		default:
			continue
		}
		m.Violations = append(m.Violations, Violation{Kind: Forgotten, At: at, Events: []Event{m.holds[spot{b.Network, b.Address}][b.Machine].ack},
			Text: fmt.Sprintf("%s of machine %d (%s), which has it for another %.3f s: %s", b.Address, b.Machine, b.MAC, b.Left.Seconds(), why)})
	}
}
