package dispatch

import (
	"time"

	"github.com/kiln-farm/kiln/coordinator/state"
)

// itemOf ranks a ready task by the builds that wait for it.
func itemOf(m *state.Machine, t *state.Task) item {
	var best item
	free := false
	now := time.Now()
	for i, w := range t.Waiters {
		b := m.Build(w.Build)
		n := b.Nodes[w.Node].Spec
		it := item{
			task: t.Key, team: b.Spec.GetTeam(), class: class{n.GetKind(), n.GetVersion(), n.GetPlatform(), b.Spec.GetResourceClass()},
			priority: b.Spec.GetPriority(), order: b.Order, node: w.Node, since: now,
		}
		free = free || it.class.resource == ""
		if i == 0 || before(it, best) {
			best = it
		}
	}
	if free {
		best.class.resource = "" // one of the builds runs it anywhere, so all may
	}
	best.inputs = inputsOf(m, t)
	return best
}

// inputsOf says who made what a task takes.
func inputsOf(m *state.Machine, t *state.Task) (all []input) {
	b, n := m.NodeOf(t)
	for _, in := range n.Spec.GetInputs() {
		out := in.GetOutput()
		if out == nil || t.Waiters[0].Node < state.GraphNode {
			continue
		}
		made := b.Nodes[state.GraphNode+int(out.GetNode())].Result
		if builder := made.GetBuilder(); builder != "" {
			all = append(all, input{builder, state.OutputOf(made, out.GetName()).GetSize()})
		}
	}
	return all
}

// ready is a task as the scheduler takes it; nothing while the builds that wait for it have to wait themselves.
func (l *Duty) ready(m *state.Machine, t *state.Task) []item {
	if !mayRun(m, t) {
		return nil
	}
	it := itemOf(m, t)
	it.avoid = l.strikes.of(t.Key)
	return []item{it}
}

// mayRun says that one of the builds that wait for a task is among those that its team may have under way.
func mayRun(m *state.Machine, t *state.Task) bool {
	for _, w := range t.Waiters {
		if turn(m, m.Build(w.Build)) {
			return true
		}
	}
	return false
}

// turn says that a build is among the first of its team, as many as that may have under way.
func turn(m *state.Machine, b *state.Build) bool {
	most := m.Team(b.Spec.GetTeam()).GetMaxBuilds()
	if most == 0 {
		return true
	}
	var earlier uint32
	for _, other := range m.Builds() {
		if !other.Ended() && other.Order < b.Order && other.Spec.GetTeam() == b.Spec.GetTeam() {
			earlier++
		}
	}
	return earlier < most
}

// itsTurn queues what builds of a team may begin now.
func (l *Duty) itsTurn(m *state.Machine, team string) {
	if team != "" && m.Team(team).GetMaxBuilds() == 0 {
		return
	}
	for _, t := range m.Tasks() {
		if t.State == state.Ready && t.NotBefore <= m.Now() {
			l.Sched.add(l.ready(m, t)...)
		}
	}
}
