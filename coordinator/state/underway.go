package state

import (
	"cmp"
	"slices"
)

// inLine is a build that has not ended, in its team's line.
type inLine struct {
	order uint64
	build string
}

// enter puts a build into its team's line, which goes by the order of submission.
func (m *Machine) enter(b *Build) {
	team := b.Spec.GetTeam()
	line := m.underWays[team]
	i, _ := slices.BinarySearchFunc(line, b.Order, byOrder)
	m.underWays[team] = slices.Insert(line, i, inLine{b.Order, b.Spec.GetId()})
}

// quit takes a build that has ended out of its team's line, and notes which one may begin in its place.
func (m *Machine) quit(b *Build) {
	team := b.Spec.GetTeam()
	line := m.underWays[team]
	i, ok := slices.BinarySearchFunc(line, b.Order, byOrder)
	if !ok {
		return
	}
	line = slices.Delete(line, i, i+1)
	if len(line) == 0 {
		delete(m.underWays, team)
		return
	}
	m.underWays[team] = line
	if most := int(m.Team(team).GetMaxBuilds()); most > 0 && i < most && len(line) >= most {
		m.note(Change{Kind: BuildAdmitted, Build: line[most-1].build})
	}
}

// admit notes which builds of a team may begin that might not while it could have before under way.
func (m *Machine) admit(team string, before uint32) {
	line, most := m.underWays[team], m.Team(team).GetMaxBuilds()
	if before == 0 {
		return // all of them could
	}
	to := len(line)
	if most > 0 {
		to = min(to, int(most))
	}
	for i := int(before); i < to; i++ {
		m.note(Change{Kind: BuildAdmitted, Build: line[i].build})
	}
}

func byOrder(l inLine, order uint64) int { return cmp.Compare(l.order, order) }

// Admitted says that a build which has not ended is among the first of its team, as many as that may have under way.
func (m *Machine) Admitted(b *Build) bool {
	team := b.Spec.GetTeam()
	most, line := int(m.Team(team).GetMaxBuilds()), m.underWays[team]
	return most == 0 || len(line) <= most || b.Order <= line[most-1].order
}

// BuildsUnderWay is how many builds of a team have not ended.
func (m *Machine) BuildsUnderWay(team string) int { return len(m.underWays[team]) }

// HeldBack are the ids of the builds that wait until others of their team have ended, by team, in their order. The caller may
// keep and change it.
func (m *Machine) HeldBack() map[string][]string {
	held := map[string][]string{}
	for team, t := range m.teams {
		line, most := m.underWays[team], int(t.GetMaxBuilds())
		if most == 0 || len(line) <= most {
			continue
		}
		ids := make([]string, len(line)-most)
		for i, l := range line[most:] {
			ids[i] = l.build
		}
		held[team] = ids
	}
	return held
}
