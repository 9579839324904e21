package state

import (
	"slices"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Bounds that are part of how entries apply: to change one is to raise the level.
const (
	maxInfra   = 8       // times that a task may lose its builder or be failed by it
	maxMisses  = 5       // times that a task may find an input gone
	maxLosses  = 5       // times that a build's outputs may be found gone
	firstWait  = 100     // ms until a task is tried again, doubled each time
	seenWindow = 600_000 // ms in which a build's id is remembered after the build has left
	maxSeen    = 10_000  // ids remembered at most
	maxID      = 128     // bytes of an id
	maxNodes   = 100_000 // nodes of a graph
	maxError   = 4 << 10 // bytes of an error
)

// The first nodes of a build's list; its graph follows.
const (
	ResolveNode = 0
	PlanNode    = 1
	GraphNode   = 2 // index of the graph's first node
)

// NodeState is how far a node has come.
type NodeState uint32

// States of a node.
const (
	Waiting  NodeState = iota // for the digests of its inputs
	Attached                  // to the task of its key
	Done
)

// TaskState is how far a task has come.
type TaskState uint32

// States of a task.
const (
	Fresh   TaskState = iota // to be looked up
	Ready                    // to be leased
	Leased                   // to a builder
	Blocked                  // until the producer of a lost input has run again
	Made                     // its result is known
)

// Build is a build in the state. Callers read it only.
type Build struct {
	Spec      *kilnv1.BuildSpec
	Order     uint64 // builds are numbered as they come
	State     kilnv1.BuildState
	Error     string
	Submitted int64 // ms since 1970
	Finished  int64
	Nodes     []*Node // resolve, plan, graph
	Targets   []*kilnv1.Target
	Outputs   []*kilnv1.BuildOutput
	Final     bool // answered by the record of its plan's key: it has no graph

	attached   bool // a graph, or its first run, is there
	total      int  // nodes of the graph
	open       int  // nodes that are not done
	losses     uint32
	generation uint64
}

// Ended says that nothing more happens to the build.
func (b *Build) Ended() bool { return b.State >= kilnv1.BuildState_BUILD_STATE_DONE }

// Complete says that all nodes of the build are done.
func (b *Build) Complete() bool {
	return b.attached && b.open == 0 && len(b.Nodes)-GraphNode == b.total
}

// Attached says that the build's whole graph is in the state.
func (b *Build) Attached() bool { return b.attached && len(b.Nodes)-GraphNode == b.total }

// PlanKey is the key of the build's plan; empty while it is not known.
func (b *Build) PlanKey() string { return b.Nodes[PlanNode].Key }

// Node is one node of a build. Callers read it only.
type Node struct {
	Spec   *kilnv1.Node
	Key    string // empty until all inputs are known
	State  NodeState
	Hit    bool // the result was there before, or another build made it
	Result *kilnv1.Result

	unknown    int   // inputs that are not known
	users      []int // nodes that take an output of this one, once for each such input
	generation uint64
}

// Task is the work behind a key. Callers read it only.
type Task struct {
	Key       string
	State     TaskState
	Waiters   []Waiter // never empty
	Lease     uint64   // the number of its lease when Leased
	Builder   string
	Session   string
	Attempts  uint32 // leases so far
	NotBefore int64  // state time before which it is not leased
	Result    *kilnv1.Result

	owner      string // the build that brought it
	infra      uint32
	misses     uint32
	blockedOn  string   // key of the task that must run again first
	blocks     []string // keys of the tasks that wait for this one
	generation uint64
}

// Waiter is a node of a build that needs a task's result.
type Waiter struct {
	Build string
	Node  int
}

// Build returns a build, or nil.
func (m *Machine) Build(id string) *Build { return m.builds[id] }

// Seen says that the build is here, or was not long ago.
func (m *Machine) Seen(id string) bool {
	return m.builds[id] != nil || slices.ContainsFunc(m.seen, func(s seen) bool { return s.build == id })
}

// Task returns a task, or nil.
func (m *Machine) Task(key string) *Task { return m.tasks[key] }

// Builds returns all builds in the order of their submission.
func (m *Machine) Builds() []*Build {
	all := make([]*Build, 0, len(m.builds))
	for _, b := range m.builds {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *Build) int { return compare(a.Order, b.Order) })
	return all
}

// Tasks returns all tasks in the order of their keys.
func (m *Machine) Tasks() []*Task {
	all := make([]*Task, 0, len(m.tasks))
	for _, t := range m.tasks {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *Task) int { return compare(a.Key, b.Key) })
	return all
}

// NodeOf is the node of the task's first waiter, whose inputs give the task's key.
func (m *Machine) NodeOf(t *Task) (*Build, *Node) {
	b := m.builds[t.Waiters[0].Build]
	return b, b.Nodes[t.Waiters[0].Node]
}

func compare[T uint64 | string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// build, node and task return what may be changed: a copy of what a snapshot may hold, in its place.

func (m *Machine) build(id string) *Build {
	b := m.builds[id]
	if b != nil && b.generation != m.generation {
		c := *b
		c.Nodes = slices.Clone(b.Nodes)
		c.generation = m.generation
		b = &c
		m.builds[id] = b
	}
	return b
}

func (m *Machine) node(b *Build, i int) *Node {
	n := b.Nodes[i]
	if n.generation != m.generation {
		c := *n
		c.users = slices.Clip(n.users)
		c.generation = m.generation
		n = &c
		b.Nodes[i] = n
	}
	return n
}

func (m *Machine) task(key string) *Task {
	t := m.tasks[key]
	if t != nil && t.generation != m.generation {
		c := *t
		c.Waiters = slices.Clone(t.Waiters)
		c.blocks = slices.Clone(t.blocks)
		c.generation = m.generation
		t = &c
		m.tasks[key] = t
	}
	return t
}

// clip bounds a message, and keeps it UTF-8: anything else could not be encoded any more.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxError)], "") }
