package state

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// RefusedHeld: the change would give an address to two.
const RefusedHeld Refusal = "an address is bound to somebody else"

// Conflict is an address that a change of the room would let two have.
type Conflict struct {
	Machine string          // whose fixed address it would be; empty: it would be another subnet's
	Subnet  string          // that one
	Binding *kilnv1.Binding // that holds now; of many of one subnet the one that holds longest
	Count   int
}

// Conflicts are what would go wrong with a change while bindings hold: a fixed address that another client has, and an address
// that comes into another subnet, which knows nothing of its binding.
func (m *Machine) Conflicts(c *kilnv1.RoomCommand) []Conflict {
	if len(m.addresses.byAddress) == 0 {
		return nil
	}
	fixed := map[netip.Addr]*kilnv1.Machine{}
	for _, machine := range c.GetMachines() {
		old := m.room.machines[machine.GetName()]
		had := fixedOf(old)
		for _, address := range fixedOf(machine) {
			if !slices.Contains(had, address) || !slices.Equal(old.GetMacs(), machine.GetMacs()) {
				fixed[address] = machine
			}
		}
	}
	moved := m.movedSubnets(c)
	if len(fixed) == 0 && moved == nil {
		return nil
	}
	all := map[[2]string]*Conflict{}
	for at, b := range m.addresses.byAddress {
		if !Holds(b, m.addresses.steady) {
			continue
		}
		if machine := fixed[at.address]; machine != nil && b.GetState() != kilnv1.BindingState_BINDING_STATE_DECLINED && !slices.Contains(machine.GetMacs(), b.GetMac()) {
			note(all, Conflict{Machine: machine.GetName(), Binding: b})
		}
		if into := moved.of(at); into != "" {
			note(all, Conflict{Subnet: into, Binding: b})
		}
	}
	out := make([]Conflict, 0, len(all))
	for _, c := range all {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Conflict) int {
		return cmp.Or(strings.Compare(a.Machine, b.Machine), strings.Compare(a.Subnet, b.Subnet), strings.Compare(a.Binding.GetSubnet(), b.Binding.GetSubnet()))
	})
	return out
}

// note counts a conflict; of many the binding that holds longest, and of those the first, is shown.
func note(all map[[2]string]*Conflict, c Conflict) {
	key := [2]string{c.Machine + "\x00" + c.Subnet, c.Binding.GetSubnet()}
	have := all[key]
	if have == nil {
		have = &c
		all[key] = have
	}
	have.Count++
	if b := have.Binding; c.Binding.GetUntilMs() > b.GetUntilMs() || c.Binding.GetUntilMs() == b.GetUntilMs() && c.Binding.GetAddress() < b.GetAddress() {
		have.Binding = c.Binding
	}
}

// moves finds the subnets that addresses will be in.
type moves struct {
	own      map[string]netip.Prefix // by subnet
	byPrefix map[netip.Prefix]string
	bits     []int // of any prefix
}

// movedSubnets is nil when no subnet gets another prefix.
func (m *Machine) movedSubnets(c *kilnv1.RoomCommand) *moves {
	if !slices.ContainsFunc(c.GetSubnets(), func(s *kilnv1.Subnet) bool { return m.room.subnets[s.GetName()].GetPrefix() != s.GetPrefix() }) {
		return nil
	}
	next := maps.Clone(m.room.subnets)
	change(next, c.GetSubnets(), c.GetRemoveSubnets(), maxSubnets)
	out := &moves{own: map[string]netip.Prefix{}, byPrefix: map[netip.Prefix]string{}}
	for _, s := range byName(next) {
		p, err := netip.ParsePrefix(s.GetPrefix())
		if err != nil {
			continue
		}
		out.own[s.GetName()], out.byPrefix[p.Masked()] = p, s.GetName()
		if !slices.Contains(out.bits, p.Bits()) {
			out.bits = append(out.bits, p.Bits())
		}
	}
	return out
}

// of is the other subnet that a bound address would be in; empty when it stays in its own, or in none.
func (v *moves) of(at place) string {
	if v == nil || v.own[at.subnet].Contains(at.address) {
		return ""
	}
	for _, bits := range v.bits {
		if p, err := at.address.Prefix(bits); err == nil && v.byPrefix[p] != "" {
			return v.byPrefix[p]
		}
	}
	return ""
}
