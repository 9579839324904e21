package dispatch

import (
	"slices"
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
	return slices.ContainsFunc(t.Waiters, func(w state.Waiter) bool { return m.Admitted(m.Build(w.Build)) })
}

// admitted are the tasks that a build waits for which may begin now.
func (l *Duty) admitted(m *state.Machine, build string) (items []item) {
	b := m.Build(build)
	if b == nil || b.Ended() {
		return nil
	}
	for _, n := range b.Nodes {
		if n.State != state.Attached {
			continue
		}
		if t := m.Task(n.Key); t != nil && t.State == state.Ready && t.NotBefore <= m.Now() {
			items = append(items, l.ready(m, t)...)
		}
	}
	return items
}
