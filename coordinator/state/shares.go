package state

import (
	"slices"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	defaultWeight = 100
	maxWeight     = 10_000
	maxTeams      = 10_000
	maxHolds      = 10_000
)

// Team returns how a team shares the farm; never nil.
func (m *Machine) Team(name string) *kilnv1.Team {
	if t := m.teams[name]; t != nil {
		return t
	}
	return &kilnv1.Team{Name: name, Weight: defaultWeight}
}

// Teams returns the teams that have a record, in the order of their names.
func (m *Machine) Teams() []*kilnv1.Team {
	var all []*kilnv1.Team
	for _, t := range m.teams {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *kilnv1.Team) int { return compare(a.GetName(), b.GetName()) })
	return all
}

func (m *Machine) team(c *kilnv1.TeamCommand) Result {
	t := c.GetTeam()
	before := m.Team(t.GetName()).GetMaxBuilds()
	switch {
	case t.GetName() == "" || len(t.GetName()) > maxID:
		return Result{Refused: RefusedInvalid}
	case c.GetRemove():
		if m.teams[t.GetName()] == nil {
			return Result{Refused: RefusedUnknown}
		}
		delete(m.teams, t.GetName())
	case t.GetWeight() < 1 || t.GetWeight() > maxWeight || m.teams[t.GetName()] == nil && len(m.teams) >= maxTeams:
		return Result{Refused: RefusedInvalid}
	default:
		m.teams[t.GetName()] = t
	}
	m.note(Change{Kind: SharesChanged})
	m.admit(t.GetName(), before)
	return Result{}
}

// BuilderHold returns why a builder gets no work; nil when it does.
func (m *Machine) BuilderHold(builder string) *kilnv1.HoldCommand {
	h := m.holds[builder]
	if h == nil || h.GetUntil() != 0 && h.GetUntil() <= m.now {
		return nil
	}
	return h
}

// BuilderHolds returns all holds that are not over, in the order of the builders' names.
func (m *Machine) BuilderHolds() []*kilnv1.HoldCommand {
	return slices.DeleteFunc(m.allHolds(), func(h *kilnv1.HoldCommand) bool { return m.BuilderHold(h.GetBuilder()) == nil })
}

// allHolds returns those that are over as well.
func (m *Machine) allHolds() []*kilnv1.HoldCommand {
	var all []*kilnv1.HoldCommand
	for _, h := range m.holds {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *kilnv1.HoldCommand) int { return compare(a.GetBuilder(), b.GetBuilder()) })
	return all
}

func (m *Machine) hold(c *kilnv1.HoldCommand) Result {
	b := c.GetBuilder()
	for builder, h := range m.holds { // those that are over
		if h.GetUntil() != 0 && h.GetUntil() <= m.now {
			delete(m.holds, builder)
		}
	}
	switch {
	case b == "" || len(b) > maxID:
		return Result{Refused: RefusedInvalid}
	case c.GetRelease():
		if m.holds[b] == nil {
			return Result{Refused: RefusedUnknown}
		}
		delete(m.holds, b)
	case len(m.holds) >= maxHolds && m.holds[b] == nil:
		return Result{Refused: RefusedInvalid}
	default:
		m.holds[b] = &kilnv1.HoldCommand{Builder: b, Reason: clip(c.GetReason()), Until: c.GetUntil()}
	}
	m.note(Change{Kind: SharesChanged})
	return Result{}
}
