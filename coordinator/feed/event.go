package feed

import (
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func StateEvent(s kilnv1.BuildState, reason string, outputs []*kilnv1.BuildOutput) *kilnv1.BuildEvent {
	return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_State{State: &kilnv1.StateChanged{State: s, Error: reason, Outputs: outputs}}}
}

func GraphEvent(g *kilnv1.GraphKnown) *kilnv1.BuildEvent {
	return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_Graph{Graph: g}}
}

func NodeEvent(n *kilnv1.NodeChanged) *kilnv1.BuildEvent {
	return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_Node{Node: n}}
}

// LogEvent is what a node of a build says: one of the graph, or one that comes before it.
func LogEvent(node int, lines []string) *kilnv1.BuildEvent {
	phase := kilnv1.BuildState_BUILD_STATE_RESOLVING
	switch {
	case node >= state.GraphNode:
		return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_Log{Log: &kilnv1.NodeLog{Node: uint32(node - state.GraphNode), Lines: lines}}}
	case node == state.PlanNode:
		phase = kilnv1.BuildState_BUILD_STATE_PLANNING
	}
	return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_PhaseLog{PhaseLog: &kilnv1.PhaseLog{Phase: phase, Lines: lines}}}
}

// ChangeEvent is the event that a change of a graph's node is.
func ChangeEvent(b *state.Build, c state.Change) *kilnv1.NodeChanged {
	e := &kilnv1.NodeChanged{Node: uint32(c.Node - state.GraphNode), Builder: c.Builder, Error: c.Reason}
	switch c.Kind {
	case state.NodeRunning:
		e.State = kilnv1.NodeState_NODE_STATE_RUNNING
	case state.NodeRetry:
		e.State = kilnv1.NodeState_NODE_STATE_RETRY
	case state.NodeFailed:
		e.State = kilnv1.NodeState_NODE_STATE_FAILED
	case state.NodeDone:
		return doneEvent(b, c.Node)
	}
	return e
}

func doneEvent(b *state.Build, i int) *kilnv1.NodeChanged {
	n := b.Nodes[i]
	e := &kilnv1.NodeChanged{Node: uint32(i - state.GraphNode), State: kilnv1.NodeState_NODE_STATE_DONE, Builder: n.Result.GetBuilder()}
	if n.Hit {
		e.State, e.Builder = kilnv1.NodeState_NODE_STATE_HIT, ""
	} else {
		e.DurationUs = n.Result.GetDurationUs()
	}
	for _, o := range n.Result.GetOutputs() {
		e.Bytes += o.GetSize()
	}
	return e
}

// SummaryOf is what a build in the state has come to, for watchers who cannot have its events.
func SummaryOf(m *state.Machine, b *state.Build) []*kilnv1.BuildEvent {
	if b.Final {
		return []*kilnv1.BuildEvent{StateEvent(b.State, b.Error, b.Outputs)}
	}
	var events []*kilnv1.BuildEvent
	if b.Attached() {
		g := &kilnv1.GraphKnown{}
		for _, n := range b.Nodes[state.GraphNode:] {
			g.Labels = append(g.Labels, n.Spec.GetLabel())
			g.Kinds = append(g.Kinds, n.Spec.GetKind())
		}
		events = append(events, GraphEvent(g))
		for i := state.GraphNode; i < len(b.Nodes); i++ {
			n := b.Nodes[i]
			if n.State == state.Done {
				events = append(events, NodeEvent(doneEvent(b, i)))
			} else if t := m.Task(n.Key); t != nil && t.State == state.Leased && !b.Ended() {
				events = append(events, NodeEvent(&kilnv1.NodeChanged{
					Node: uint32(i - state.GraphNode), State: kilnv1.NodeState_NODE_STATE_RUNNING, Builder: t.Builder,
				}))
			}
		}
	}
	return append(events, StateEvent(b.State, b.Error, b.Outputs))
}

// EventsOfRecord is what a finished build came to.
func EventsOfRecord(r *kilnv1.BuildRecord) []*kilnv1.BuildEvent {
	var events []*kilnv1.BuildEvent
	if len(r.GetNodes()) > 0 {
		events = GraphOfRecords(r.GetNodes(), r.GetState() == kilnv1.BuildState_BUILD_STATE_DONE)
	}
	return append(events, StateEvent(r.GetState(), r.GetError(), r.GetOutputs()))
}

func GraphOfRecords(nodes []*kilnv1.NodeRecord, all bool) []*kilnv1.BuildEvent {
	g := &kilnv1.GraphKnown{}
	events := []*kilnv1.BuildEvent{GraphEvent(g)}
	for i, n := range nodes {
		g.Labels = append(g.Labels, n.GetLabel())
		g.Kinds = append(g.Kinds, n.GetKind())
		if !all && len(n.GetOutputs()) == 0 {
			continue
		}
		e := &kilnv1.NodeChanged{Node: uint32(i), State: kilnv1.NodeState_NODE_STATE_DONE, Builder: n.GetBuilder(), DurationUs: n.GetDurationUs()}
		if n.GetHit() {
			e.State, e.Builder, e.DurationUs = kilnv1.NodeState_NODE_STATE_HIT, "", 0
		}
		for _, o := range n.GetOutputs() {
			e.Bytes += o.GetSize()
		}
		events = append(events, NodeEvent(e))
	}
	return events
}

// RecordOf is the record of a build in the state. The nodes of one that was answered by the record of its plan
// come from there.
func RecordOf(b *state.Build) *kilnv1.BuildRecord {
	r := &kilnv1.BuildRecord{
		Spec: b.Spec, State: b.State, Error: b.Error, SubmittedUnixMs: b.Submitted, FinishedUnixMs: b.Finished,
		Outputs: b.Outputs, PlanKey: b.PlanKey(),
		Lock: state.OutputOf(b.Nodes[state.ResolveNode].Result, "lock").GetDigest(),
	}
	for i := state.GraphNode; i < len(b.Nodes); i++ {
		n := b.Nodes[i]
		record := &kilnv1.NodeRecord{
			Label: n.Spec.GetLabel(), Kind: n.Spec.GetKind(), Version: n.Spec.GetVersion(), Key: n.Key,
			Params: n.Spec.GetParams(), Outputs: n.Result.GetOutputs(), Hit: n.Hit,
			Builder: n.Result.GetBuilder(), DurationUs: n.Result.GetDurationUs(), Log: n.Result.GetLog(),
		}
		if n.Key != "" {
			inputs, _ := b.Inputs(i) // a node with a key has its inputs
			for _, in := range inputs {
				record.Inputs = append(record.Inputs, &kilnv1.NamedDigest{Name: in.Name, Digest: in.Digest.String()})
			}
		}
		r.Nodes = append(r.Nodes, record)
	}
	return r
}
