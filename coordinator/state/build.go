package state

import (
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func (m *Machine) submit(c *kilnv1.SubmitCommand) Result {
	spec := c.GetSpec()
	id := spec.GetId()
	if id == "" || len(id) > maxID {
		return Result{Refused: RefusedInvalid}
	}
	if m.Seen(id) {
		return Result{Existing: true}
	}
	if _, err := cache.ParseDigest(spec.GetConfig()); err != nil {
		return Result{Refused: RefusedInvalid}
	}
	if _, err := cache.ParseDigest(spec.GetLock()); err != nil && spec.GetLock() != "" {
		return Result{Refused: RefusedInvalid}
	}
	m.order++
	b := &Build{
		Spec: spec, Order: m.order, State: kilnv1.BuildState_BUILD_STATE_RESOLVING, Submitted: m.now,
		generation: m.generation,
	}
	m.builds[id] = b
	m.enter(b)
	m.note(Change{Kind: BuildChanged, Build: id})
	m.add(b, resolveNode(c))
	m.add(b, planNode(c))
	m.settle(b, ResolveNode, nil)
	return Result{}
}

// resolveNode is never shared: its parameters hold the build's id, since what references mean changes with time.
func resolveNode(c *kilnv1.SubmitCommand) *kilnv1.Node {
	n := &kilnv1.Node{
		Kind: step.Resolve, Version: step.Versions[step.Resolve], Label: "resolve images", Params: c.GetResolveParams(),
		Inputs: []*kilnv1.Input{known("config", c.GetSpec().GetConfig())},
	}
	if lock := c.GetSpec().GetLock(); lock != "" {
		n.Inputs = append(n.Inputs, known("lock", lock))
	}
	return n
}

// planNode is shared by builds whose configuration, lock and parameters are equal.
func planNode(c *kilnv1.SubmitCommand) *kilnv1.Node {
	return &kilnv1.Node{
		Kind: step.Plan, Version: step.Versions[step.Plan], Label: "plan", Params: c.GetPlanParams(),
		Inputs: []*kilnv1.Input{
			known("config", c.GetSpec().GetConfig()),
			{Name: "lock", From: &kilnv1.Input_Output{Output: &kilnv1.NodeOutput{Node: ResolveNode, Name: "lock"}}},
		},
	}
}

func known(name, digest string) *kilnv1.Input {
	return &kilnv1.Input{Name: name, From: &kilnv1.Input_Digest{Digest: digest}}
}

// producer is the index in b.Nodes of the node whose output the input of node i is.
func producer(i int, from *kilnv1.NodeOutput) int {
	if i < GraphNode {
		return int(from.GetNode())
	}
	return int(from.GetNode()) + GraphNode
}

// add appends a node whose inputs come from nodes that are there already.
func (m *Machine) add(b *Build, spec *kilnv1.Node) {
	i := len(b.Nodes)
	n := &Node{Spec: spec, generation: m.generation}
	b.Nodes = append(b.Nodes, n)
	b.open++
	for _, in := range spec.GetInputs() {
		if out := in.GetOutput(); out != nil {
			from := producer(i, out)
			if b.Nodes[from].Result == nil {
				p := m.node(b, from)
				p.users = append(p.users, i)
				n.unknown++
			}
		}
	}
}

// Inputs are a node's inputs as digests; an error when an output that it takes was not made.
func (b *Build) Inputs(i int) ([]step.Input, error) {
	n := b.Nodes[i]
	inputs := make([]step.Input, len(n.Spec.GetInputs()))
	for k, in := range n.Spec.GetInputs() {
		text := in.GetDigest()
		if out := in.GetOutput(); out != nil {
			from := b.Nodes[producer(i, out)]
			text = OutputOf(from.Result, out.GetName()).GetDigest()
			if text == "" {
				return nil, fmt.Errorf("the step %q gave no output %q", from.Spec.GetLabel(), out.GetName())
			}
		}
		digest, err := cache.ParseDigest(text)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", in.GetName(), err)
		}
		inputs[k] = step.Input{Name: in.GetName(), Digest: digest}
	}
	return inputs, nil
}

// OutputOf is the output of that name, or nil.
func OutputOf(r *kilnv1.Result, name string) *kilnv1.Output {
	for _, o := range r.GetOutputs() {
		if o.GetName() == name {
			return o
		}
	}
	return nil
}

// underWay is a build that has not ended, or says why there is none of that id.
func (m *Machine) underWay(id string) (*Build, Refusal) {
	switch b := m.build(id); {
	case b == nil:
		return nil, RefusedUnknown
	case b.Ended():
		return nil, RefusedEnded
	default:
		return b, ""
	}
}

// attach adds a run of graph nodes. The leader has checked the graph; what is checked here keeps the state sound.
func (m *Machine) attach(c *kilnv1.AttachCommand) Result {
	b, refused := m.underWay(c.GetBuild())
	switch {
	case refused != "":
		return Result{Refused: refused}
	case b.Nodes[PlanNode].State != Done:
		return Result{Refused: RefusedTooEarly}
	}
	at, total := len(b.Nodes)-GraphNode, int(c.GetTotal())
	if int(c.GetFirst()) != at || total > maxNodes || b.attached && total != b.total || at+len(c.GetNodes()) > total || !sound(c, at, total) {
		return Result{Refused: RefusedInvalid}
	}
	if !b.attached {
		b.attached, b.total, b.Targets = true, total, c.GetTargets()
		b.State = kilnv1.BuildState_BUILD_STATE_RUNNING
		m.note(Change{Kind: BuildChanged, Build: c.GetBuild()})
	}
	for i, a := range c.GetNodes() {
		if b.Ended() {
			break
		}
		m.add(b, a.GetNode())
		if at := GraphNode + at + i; b.Nodes[at].unknown == 0 {
			m.settle(b, at, a)
		}
	}
	if total == 0 {
		m.note(Change{Kind: BuildComplete, Build: c.GetBuild()})
	}
	return Result{}
}

// sound says that nodes take outputs of earlier nodes only, and targets of any.
func sound(c *kilnv1.AttachCommand, at, total int) bool {
	for i, a := range c.GetNodes() {
		for _, in := range a.GetNode().GetInputs() {
			switch from := in.GetFrom().(type) {
			case *kilnv1.Input_Output:
				if int64(from.Output.GetNode()) >= int64(at+i) {
					return false
				}
			case *kilnv1.Input_Digest:
				if _, err := cache.ParseDigest(from.Digest); err != nil {
					return false
				}
			default:
				return false
			}
		}
	}
	for _, t := range c.GetTargets() {
		if int64(t.GetFrom().GetNode()) >= int64(total) {
			return false
		}
	}
	return true
}

func (m *Machine) finish(c *kilnv1.FinishCommand) Result {
	b, refused := m.underWay(c.GetBuild())
	switch {
	case refused != "":
		return Result{Refused: refused}
	case c.GetFinal() && (b.PlanKey() == "" || b.attached), !c.GetFinal() && !b.Complete():
		return Result{Refused: RefusedTooEarly}
	}
	b.Outputs, b.Final = c.GetOutputs(), c.GetFinal()
	return m.end(c.GetBuild(), kilnv1.BuildState_BUILD_STATE_DONE, "")
}

// end ends a build and lets go of its tasks.
func (m *Machine) end(id string, state kilnv1.BuildState, reason string) Result {
	b := m.build(id)
	if b == nil {
		return Result{Refused: RefusedUnknown}
	}
	if b.Ended() {
		return Result{Refused: RefusedEnded}
	}
	b.State, b.Error, b.Finished = state, clip(reason), m.now
	for i, n := range b.Nodes {
		if n.State != Waiting {
			m.leave(n.Key, Waiter{id, i})
		}
	}
	m.note(Change{Kind: BuildChanged, Build: id})
	m.quit(b)
	return Result{}
}

func (m *Machine) forget(id string) Result {
	b := m.builds[id]
	switch {
	case b == nil:
		return Result{Refused: RefusedUnknown}
	case !b.Ended():
		return Result{Refused: RefusedTooEarly}
	}
	delete(m.builds, id)
	for len(m.seen) > 0 && (m.seen[0].at+seenWindow < m.now || len(m.seen) >= maxSeen) {
		m.seen = m.seen[1:]
	}
	m.seen = append(m.seen, seen{id, m.now})
	return Result{}
}
