package state

import kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"

// ChangeKind says what happened.
type ChangeKind int

// What the leader acts on.
const (
	TaskNew          ChangeKind = iota // Task is to be looked up
	TaskReady                          // Task is to be leased, from its NotBefore on; Build is set when that one came to wait for it later
	TaskMade                           // Task has a result that a builder made
	TaskGone                           // nobody waits for Task; Lease and Builder are set when it was leased
	BuildChanged                       // Build has another State
	PlanKnown                          // Build has a plan: its graph is to be loaded and attached
	BuildComplete                      // all nodes of Build are done: its outputs are to be gathered
	NodeRunning                        // Node of Build has a builder
	NodeDone                           // Node of Build is done; see its Hit
	NodeRetry                          // Node of Build lost its builder or an input; see Reason
	NodeFailed                         // Node of Build failed; see Reason
	MembersChanged                     // a coordinator came, went or changed
	SharesChanged                      // a team's share or a builder's hold changed
	RoomChanged                        // machines, groups, releases or subnets changed
	BindingChanged                     // what is bound to whom
	PublishedChanged                   // what is in DNS
	BuildAdmitted                      // Build may begin: enough others of its team have ended
)

// Change is one thing that Apply did and that somebody outside may have to act on.
type Change struct {
	Kind    ChangeKind
	Build   string
	Node    int // index in Build.Nodes
	Task    string
	Lease   uint64
	Builder string
	Reason  string
	Binding *kilnv1.Binding // as it is now; not to be changed
}

func (m *Machine) note(c Change) { m.changes = append(m.changes, c) }

// noteWaiters notes a change for every node that waits for t.
func (m *Machine) noteWaiters(t *Task, kind ChangeKind, reason string) {
	for _, w := range t.Waiters {
		if m.builds[w.Build].Nodes[w.Node].State == Attached {
			m.note(Change{Kind: kind, Build: w.Build, Node: w.Node, Task: t.Key, Builder: t.Builder, Reason: reason})
		}
	}
}
