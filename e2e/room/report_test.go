package room

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// report is what a run did and found.
type report struct {
	Seed       uint64         `json:"seed"`
	Seconds    float64        `json:"seconds"`
	Machines   int            `json:"machines"`
	Edges      int            `json:"edges"`
	Injected   map[string]int `json:"injected"` // faults by kind
	Skipped    []string       `json:"skipped"`
	Behaviour  map[string]int `json:"behaviour"`
	Calm       float64        `json:"calm_seconds"` // from the last fault until every well-behaved machine had an address
	Stats      history.Stats  `json:"-"`
	ACKs       map[string]int `json:"acks"`
	Bindings   int            `json:"bindings"` // in the farm's books at the end
	Compared   int            `json:"compared"` // of them with what machines believe
	Six        report6        `json:"six"`
	Violations int            `json:"violations"` // of both families
}

// report6 is the same of the machines of IPv6.
type report6 struct {
	Machines  int            `json:"machines"`
	Behaviour map[string]int `json:"behaviour"`
	Messages  map[string]int `json:"messages"` // sent and received, by name
	Stats     history.Stats  `json:"-"`
	ACKs      map[string]int `json:"acks"`
	Bindings  int            `json:"bindings"`
	Compared  int            `json:"compared"`
}

func (r *report) text() string {
	var b strings.Builder
	counts := func(title string, of map[string]int) {
		fmt.Fprintf(&b, "%s:\n", title)
		for _, kind := range slices.Sorted(maps.Keys(of)) {
			fmt.Fprintf(&b, "  %7d  %s\n", of[kind], kind)
		}
	}
	fmt.Fprintf(&b, "dhcp: seed %d, %d machines, %d of IPv6, %d edges, %.0f s\n", r.Seed, r.Machines, r.Six.Machines, r.Edges, r.Seconds)
	counts("faults injected", r.Injected)
	for _, kind := range r.Skipped {
		fmt.Fprintf(&b, "     none  %s\n", kind)
	}
	counts("what machines did", r.Behaviour)
	counts("what machines of IPv6 did", r.Six.Behaviour)
	counts("messages of DHCPv6", r.Six.Messages)
	s := r.Stats
	fmt.Fprintf(&b, `checked:
  %d packets sent and %d received; %d OFFERs, %d NAKs, ACKs: %v
  %d addresses given; %d ACKs for an address that its client still had, %d for one that it had before
  %d addresses went to another client after that; %d OFFERs of another address than the client had, %d NAKs after another edge's ACK
  ACKs by edge: %v
  every well-behaved machine had an address %.1f s after the last fault
  %d bindings in the farm's books, %d of them compared with what machines believe
`, s.Sent, s.Received, s.Offers, s.NAKs, r.ACKs, s.Addresses, s.Kept, s.Again, s.Passed, s.OtherOffers, s.Contradicted, s.ServersThatGave, r.Calm,
		r.Bindings, r.Compared)
	s = r.Six.Stats
	fmt.Fprintf(&b, `checked of IPv6:
  %d messages sent and %d received; %d ADVERTISEs, %d refusals, REPLYs that give or confirm: %v
  %d addresses given; %d REPLYs for an address that its client still had, %d for one that it had before
  %d addresses went to another client after that; %d ADVERTISEs of another address than the client had, %d refusals after another edge's REPLY
  REPLYs by edge: %v
  %d bindings in the farm's books, %d of them compared with what machines believe
violations: %d
`, s.Sent, s.Received, s.Offers, s.NAKs, r.Six.ACKs, s.Addresses, s.Kept, s.Again, s.Passed, s.OtherOffers, s.Contradicted, s.ServersThatGave,
		r.Six.Bindings, r.Six.Compared, r.Violations)
	return b.String()
}
