package state

import (
	"fmt"
	"slices"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func (m *Machine) lease(c *kilnv1.LeaseCommand) Result {
	t := m.task(c.GetTask())
	switch {
	case t == nil:
		return Result{Refused: RefusedUnknown}
	case t.State != Ready || t.NotBefore > m.now || c.GetBuilder() == "":
		return Result{Refused: RefusedNotReady}
	}
	m.leases++
	t.State, t.Lease, t.Builder, t.Session = Leased, m.leases, c.GetBuilder(), c.GetSession()
	t.Attempts++
	for _, w := range t.Waiters {
		if m.builds[w.Build].Nodes[w.Node].State == Attached {
			m.note(Change{Kind: NodeRunning, Build: w.Build, Node: w.Node, Task: t.Key, Lease: t.Lease, Builder: t.Builder})
		}
	}
	return Result{Lease: t.Lease}
}

// Holds says that the lease is current.
func (m *Machine) Holds(epoch, number uint64, task string) bool {
	t := m.tasks[task]
	return t != nil && t.State == Leased && t.Lease == number && epoch == m.epoch
}

func (m *Machine) complete(c *kilnv1.CompleteRequest) Result {
	if !m.Holds(c.GetEpoch(), c.GetNumber(), c.GetTask()) || m.tasks[c.GetTask()].Builder != c.GetBuilder() {
		return Result{Refused: RefusedStale}
	}
	t := m.task(c.GetTask())
	switch c.GetCompletion() {
	case kilnv1.Completion_COMPLETION_DONE:
		if !validOutputs(c.GetOutputs(), c.GetReferences()) {
			m.again(t, fmt.Sprintf("builder %s gave outputs that cannot be read", t.Builder))
			return Result{}
		}
		_, n := m.NodeOf(t)
		result := &kilnv1.Result{
			Key: t.Key, Kind: n.Spec.GetKind(), Outputs: c.GetOutputs(), References: c.GetReferences(), Builder: t.Builder,
			StartedUnixMs: c.GetStartedUnixMs(), DurationUs: c.GetDurationUs(), Log: c.GetLog(),
		}
		m.note(Change{Kind: TaskMade, Task: t.Key, Builder: t.Builder, Lease: t.Lease})
		m.made(t, result)
	case kilnv1.Completion_COMPLETION_FAILED:
		m.fail(t, c.GetError())
	case kilnv1.Completion_COMPLETION_INFRA:
		m.again(t, c.GetError())
	case kilnv1.Completion_COMPLETION_INPUT_MISSING:
		m.missing(t, c.GetMissing(), c.GetError())
	default:
		return Result{Refused: RefusedInvalid}
	}
	return Result{}
}

func (m *Machine) expire(c *kilnv1.ExpireCommand) Result {
	if l := c.GetLease(); !m.Holds(l.GetEpoch(), l.GetNumber(), l.GetTask()) {
		return Result{Refused: RefusedStale}
	}
	m.again(m.task(c.GetLease().GetTask()), c.GetReason())
	return Result{}
}

func (m *Machine) release(l *kilnv1.LeaseRef) Result {
	if !m.Holds(l.GetEpoch(), l.GetNumber(), l.GetTask()) {
		return Result{Refused: RefusedStale}
	}
	t := m.task(l.GetTask())
	m.noteWaiters(t, NodeRetry, "its builder gave it back")
	m.ready(t, 0)
	return Result{}
}

// again lets t be tried once more after a while, unless that was the last time.
func (m *Machine) again(t *Task, reason string) {
	t.infra++
	if t.infra >= maxInfra {
		m.fail(t, fmt.Sprintf("given up after %d tries: %s", t.infra, reason))
		return
	}
	m.noteWaiters(t, NodeRetry, clip(reason))
	m.ready(t, firstWait<<(t.infra-1))
}

// missing makes the producer of a blob that t needs run again, and t wait for it.
func (m *Machine) missing(t *Task, digest, reason string) {
	t.misses++
	if t.misses > maxMisses {
		m.fail(t, fmt.Sprintf("the input %s was lost %d times: %s", digest, t.misses, reason))
		return
	}
	p := m.producerOf(t, digest)
	if p == nil {
		m.again(t, fmt.Sprintf("the input %s is gone and no step makes it: %s", digest, reason))
		return
	}
	m.noteWaiters(t, NodeRetry, "an input is gone from the cache and is made again")
	if p.State == Made {
		m.ready(p, 0)
	}
	p.blocks = append(p.blocks, t.Key)
	t.State, t.blockedOn = Blocked, p.Key
	t.Lease, t.Builder, t.Session = 0, "", ""
}

// producerOf finds the task that made the blob for one of the builds that wait for t, among the nodes that t
// depends on. Nil when there is none, or when it waits for t itself, which only steps that lie about their
// outputs can bring about.
func (m *Machine) producerOf(t *Task, digest string) *Task {
	for _, w := range t.Waiters {
		b := m.builds[w.Build]
		for _, i := range ancestors(b, w.Node) {
			if n := b.Nodes[i]; n.State == Done && makes(n.Result, digest) {
				if p := m.task(n.Key); p != nil && !m.waitsFor(p, t.Key) {
					return p
				}
			}
		}
	}
	return nil
}

// ancestors are the nodes that node depends on, nearest first. Plan and resolve may write blobs that any node takes.
func ancestors(b *Build, node int) []int {
	seen := make([]bool, len(b.Nodes))
	var list []int
	visit := func(i int) {
		if !seen[i] && i < node {
			seen[i] = true
			list = append(list, i)
		}
	}
	expand := func(i int) {
		for _, in := range b.Nodes[i].Spec.GetInputs() {
			if out := in.GetOutput(); out != nil {
				visit(producer(i, out))
			}
		}
	}
	expand(node)
	for k := 0; k < len(list); k++ {
		expand(list[k])
	}
	visit(PlanNode)
	visit(ResolveNode)
	return list
}

func makes(r *kilnv1.Result, digest string) bool {
	return slices.ContainsFunc(r.GetOutputs(), func(o *kilnv1.Output) bool { return o.GetDigest() == digest }) ||
		slices.Contains(r.GetReferences(), digest)
}

func (m *Machine) waitsFor(t *Task, key string) bool {
	for t != nil {
		if t.Key == key {
			return true
		}
		t = m.tasks[t.blockedOn]
	}
	return false
}

// lost makes the producer of one of a build's outputs run again, unless it does already. Nodes come in the order of
// their inputs, so the first one that gives a blob is the one that makes it; later ones may refer to it.
func (m *Machine) lost(c *kilnv1.LostCommand) Result {
	b, refused := m.underWay(c.GetBuild())
	if refused != "" {
		return Result{Refused: refused}
	}
	i := slices.IndexFunc(b.Nodes, func(n *Node) bool { return n.Result != nil && makes(n.Result, c.GetDigest()) })
	if i < 0 {
		return m.end(c.GetBuild(), kilnv1.BuildState_BUILD_STATE_FAILED, fmt.Sprintf("the blob %s is gone from the cache and no step of the build makes it", c.GetDigest()))
	}
	if b.Nodes[i].State != Done {
		return Result{}
	}
	if b.losses++; b.losses > maxLosses {
		return m.end(c.GetBuild(), kilnv1.BuildState_BUILD_STATE_FAILED,
			fmt.Sprintf("the output %s was lost from the cache %d times: does something delete from it?", c.GetDigest(), b.losses))
	}
	n := m.node(b, i)
	n.State = Attached // it keeps its result, which nodes that wait for others still need
	b.open++
	t := m.task(n.Key)
	m.note(Change{Kind: NodeRetry, Build: c.GetBuild(), Node: i, Task: n.Key, Reason: "an output is gone from the cache and is made again"})
	if t.State == Made {
		t.owner = c.GetBuild()
		m.ready(t, 0)
	}
	return Result{}
}

// MadeBy are builds that have not ended, one for each task that gave the blob and is done: others that join such a
// task take its word that the blob is there.
func (m *Machine) MadeBy(digest string) (builds []string) {
	for _, t := range m.Tasks() {
		if t.State == Made && makes(t.Result, digest) {
			builds = append(builds, t.Waiters[0].Build)
		}
	}
	return builds
}
