package state

import (
	"fmt"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func encodeBuild(b *Build) *kilnv1.SnapshotBuild {
	out := &kilnv1.SnapshotBuild{
		Spec: b.Spec, Order: b.Order, State: b.State, Error: b.Error, Submitted: b.Submitted, Finished: b.Finished,
		Total: uint32(b.total), Targets: b.Targets, Outputs: b.Outputs, Final: b.Final, Losses: b.losses, Attached: b.attached,
	}
	for _, n := range b.Nodes {
		out.Nodes = append(out.Nodes, &kilnv1.SnapshotNode{Node: n.Spec, Key: n.Key, State: uint32(n.State), Hit: n.Hit, Result: n.Result})
	}
	return out
}

// restoreBuild also counts again what follows from the rest: who uses what, and how much is open.
func (m *Machine) restoreBuild(in *kilnv1.SnapshotBuild) error {
	b := &Build{
		Spec: in.Spec, Order: in.Order, State: in.State, Error: in.Error, Submitted: in.Submitted, Finished: in.Finished,
		Targets: in.Targets, Outputs: in.Outputs, Final: in.Final,
		attached: in.Attached, total: int(in.Total), losses: in.Losses,
	}
	id := in.GetSpec().GetId()
	if id == "" || len(in.Nodes) < GraphNode {
		return fmt.Errorf("%w: a build without an id or its first nodes", ErrSnapshot)
	}
	for i, n := range in.Nodes {
		for _, input := range n.GetNode().GetInputs() {
			if out := input.GetOutput(); out != nil && producer(i, out) >= i {
				return fmt.Errorf("%w: build %s has a node that needs a later one", ErrSnapshot, id)
			}
		}
		m.add(b, n.GetNode())
		node := b.Nodes[i]
		node.Key, node.State, node.Hit, node.Result = n.Key, NodeState(n.State), n.Hit, n.Result
		if node.State == Done {
			b.open--
		}
	}
	m.builds[id] = b
	if !b.Ended() {
		m.enter(b)
	}
	return nil
}

func encodeTask(t *Task) *kilnv1.SnapshotTask {
	out := &kilnv1.SnapshotTask{
		Key: t.Key, State: uint32(t.State), Owner: t.owner, Lease: t.Lease, Builder: t.Builder, Session: t.Session,
		Attempts: t.Attempts, Infra: t.infra, Misses: t.misses, NotBefore: t.NotBefore,
		BlockedOn: t.blockedOn, Blocks: t.blocks, Result: t.Result,
	}
	for _, w := range t.Waiters {
		out.Waiters = append(out.Waiters, &kilnv1.SnapshotWaiter{Build: w.Build, Node: uint32(w.Node)})
	}
	return out
}

func decodeTask(in *kilnv1.SnapshotTask) *Task {
	t := &Task{
		Key: in.Key, State: TaskState(in.State), owner: in.Owner, Lease: in.Lease, Builder: in.Builder, Session: in.Session,
		Attempts: in.Attempts, infra: in.Infra, misses: in.Misses, NotBefore: in.NotBefore,
		blockedOn: in.BlockedOn, blocks: in.Blocks, Result: in.Result,
	}
	for _, w := range in.Waiters {
		t.Waiters = append(t.Waiters, Waiter{w.Build, int(w.Node)})
	}
	return t
}
