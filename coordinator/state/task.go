package state

import (
	"fmt"
	"slices"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// work is a node that came to an end of some kind, and what to do about it, so that long chains need no recursion.
type work struct {
	build string
	node  int
	made  *kilnv1.Result // the node is done
	hit   bool
	found *kilnv1.AttachNode // what the leader knows about the node's key
}

// settle attaches node i of b, whose inputs are all known, to its task, and does what follows from that.
func (m *Machine) settle(b *Build, i int, found *kilnv1.AttachNode) {
	m.run([]work{{build: b.Spec.GetId(), node: i, found: found}})
}

func (m *Machine) run(queue []work) {
	for ; len(queue) > 0; queue = queue[1:] {
		w := queue[0]
		b := m.build(w.build)
		if b == nil || b.Ended() {
			continue
		}
		if w.made == nil {
			queue = m.join(queue, b, w)
		} else {
			queue = m.done(queue, b, w)
		}
	}
}

// join makes node w a waiter of the task of its key.
func (m *Machine) join(queue []work, b *Build, w work) []work {
	inputs, err := b.Inputs(w.node)
	n := m.node(b, w.node)
	if err != nil {
		m.failBuild(b, w.node, err.Error())
		return queue
	}
	spec := n.Spec
	n.Key = step.Key(spec.GetKind(), spec.GetVersion(), spec.GetParams(), spec.GetPlatform(), inputs).String()
	n.State = Attached
	t := m.task(n.Key)
	if t == nil {
		t = &Task{Key: n.Key, owner: w.build, generation: m.generation}
		m.tasks[n.Key] = t
		switch {
		case spec.GetKind() == step.Resolve, w.found.GetMissed():
			m.ready(t, 0)
		case w.found.GetHit() != nil && w.found.Hit.GetKey() == n.Key:
			t.State, t.Result, t.owner = Made, w.found.Hit, ""
		default:
			m.note(Change{Kind: TaskNew, Task: t.Key})
		}
	}
	t.Waiters = append(t.Waiters, Waiter{w.build, w.node})
	switch {
	case t.State == Made:
		queue = append(queue, work{build: w.build, node: w.node, made: t.Result, hit: t.owner != w.build})
	case t.State == Ready && len(t.Waiters) > 1: // those before may all be held back
		m.note(Change{Kind: TaskReady, Task: t.Key, Build: w.build})
	case t.State == Leased:
		m.note(Change{Kind: NodeRunning, Build: w.build, Node: w.node, Task: t.Key, Lease: t.Lease, Builder: t.Builder})
	}
	return queue
}

// done marks node w as done and queues the nodes that now know all their inputs.
func (m *Machine) done(queue []work, b *Build, w work) []work {
	n := m.node(b, w.node)
	if n.State != Attached {
		return queue
	}
	n.State, n.Result, n.Hit = Done, w.made, w.hit
	b.open--
	m.note(Change{Kind: NodeDone, Build: w.build, Node: w.node, Task: n.Key})
	for _, u := range n.users {
		user := m.node(b, u)
		if user.unknown--; user.unknown == 0 {
			queue = append(queue, work{build: w.build, node: u})
		}
	}
	n.users = nil
	switch {
	case w.node == ResolveNode && !b.attached:
		b.State = kilnv1.BuildState_BUILD_STATE_PLANNING
		m.note(Change{Kind: BuildChanged, Build: w.build})
	case w.node == PlanNode && !b.attached:
		m.note(Change{Kind: PlanKnown, Build: w.build})
	}
	if b.Complete() {
		m.note(Change{Kind: BuildComplete, Build: w.build})
	}
	return queue
}

func (m *Machine) ready(t *Task, wait int64) {
	t.State, t.blockedOn, t.NotBefore = Ready, "", 0
	t.Lease, t.Builder, t.Session = 0, "", ""
	if wait > 0 {
		t.NotBefore = m.now + wait
	}
	m.note(Change{Kind: TaskReady, Task: t.Key})
}

func (m *Machine) looked(c *kilnv1.LookedCommand) Result {
	t := m.task(c.GetTask())
	switch {
	case t == nil:
		return Result{Refused: RefusedUnknown}
	case t.State != Fresh:
		return Result{Refused: RefusedNotReady}
	case c.GetHit() == nil:
		m.ready(t, 0)
	case c.Hit.GetKey() != t.Key:
		return Result{Refused: RefusedInvalid}
	default:
		t.owner = ""
		m.made(t, c.GetHit())
	}
	return Result{}
}

// made gives t its result, and the result to all that wait for it.
func (m *Machine) made(t *Task, r *kilnv1.Result) {
	t.State, t.Result = Made, r
	t.Lease, t.Builder, t.Session, t.infra = 0, "", "", 0
	m.unblock(t)
	queue := make([]work, 0, len(t.Waiters))
	for _, w := range t.Waiters {
		queue = append(queue, work{build: w.Build, node: w.Node, made: r, hit: t.owner != w.Build})
	}
	m.run(queue)
}

// unblock makes the tasks ready that wait for t, be it that it ran or that it will not.
func (m *Machine) unblock(t *Task) {
	for _, key := range t.blocks {
		if u := m.task(key); u != nil && u.State == Blocked && u.blockedOn == t.Key {
			m.ready(u, 0)
		}
	}
	t.blocks = nil
}

// leave takes a waiter off a task, and the task out of the state when it was the last one.
func (m *Machine) leave(key string, w Waiter) {
	t := m.task(key)
	if t == nil {
		return
	}
	if i := slices.Index(t.Waiters, w); i >= 0 {
		t.Waiters = slices.Delete(t.Waiters, i, i+1)
	}
	if len(t.Waiters) > 0 {
		return
	}
	m.unblock(t)
	if p := m.task(t.blockedOn); p != nil {
		p.blocks = slices.DeleteFunc(p.blocks, func(k string) bool { return k == key })
	}
	delete(m.tasks, key)
	m.note(Change{Kind: TaskGone, Task: key, Lease: t.Lease, Builder: t.Builder})
}

// fail ends all builds that wait for t.
func (m *Machine) fail(t *Task, reason string) {
	for _, w := range slices.Clone(t.Waiters) {
		if b := m.build(w.Build); !b.Ended() {
			m.failBuild(b, w.Node, reason)
		}
	}
}

func (m *Machine) failBuild(b *Build, node int, reason string) {
	id := b.Spec.GetId()
	m.note(Change{Kind: NodeFailed, Build: id, Node: node, Reason: clip(reason)})
	if node >= GraphNode {
		reason = fmt.Sprintf("%s: %s", b.Nodes[node].Spec.GetLabel(), reason)
	}
	m.end(id, kilnv1.BuildState_BUILD_STATE_FAILED, reason)
}

// validOutputs says that every output has a name and a digest.
func validOutputs(outputs []*kilnv1.Output, references []string) bool {
	for _, o := range outputs {
		if _, err := cache.ParseDigest(o.GetDigest()); err != nil || o.GetName() == "" || o.GetSize() < 0 {
			return false
		}
	}
	for _, r := range references {
		if _, err := cache.ParseDigest(r); err != nil {
			return false
		}
	}
	return true
}
