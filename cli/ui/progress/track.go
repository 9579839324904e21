package progress

import (
	"time"

	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// State is what a step is doing.
type State int

const (
	Waiting State = iota
	Running
	Done
	Hit
	Failed
	Canceled
)

// Step is one line of a build: a node of its graph, or one of the two phases before there is a graph.
type Step struct {
	Number  int // from 1, in the order in which steps first did something; 0 until then
	Label   string
	Kind    string // of its node; empty for a phase
	State   State
	Started time.Time
	Took    time.Duration
	Bytes   int64
	Retries int
	Error   string
	Logs    []string // the last lines that it said, at most keptLogs
}

// keptLogs is how many log lines of a step are kept to be shown while it runs or when it failed.
const keptLogs = 8

// Track is what is known of a build from its events.
type Track struct {
	Begun   time.Time // of the first event
	Build   kilnv1.BuildState
	Error   string
	Outputs []*kilnv1.BuildOutput

	phases  [2]Step // resolve, plan
	nodes   []Step
	started []*Step // those with a number, in its order
}

// Apply takes the next event, which came at a time. It returns the step that the event was about, nil for none,
// and the log lines that it brought.
func (t *Track) Apply(event *kilnv1.BuildEvent, at time.Time) (step *Step, lines []string) {
	if t.Begun.IsZero() {
		t.Begun = at
	}
	switch e := event.GetEvent().(type) {
	case *kilnv1.BuildEvent_State:
		return t.phase(e.State, at), nil
	case *kilnv1.BuildEvent_Graph:
		t.graph(e.Graph)
	case *kilnv1.BuildEvent_Node:
		if step := t.node(e.Node.GetNode()); step != nil {
			t.change(step, e.Node, at)
			return step, nil
		}
	case *kilnv1.BuildEvent_Log:
		return t.said(t.node(e.Log.GetNode()), e.Log.GetLines())
	case *kilnv1.BuildEvent_PhaseLog:
		return t.said(t.running(e.PhaseLog.GetPhase()), e.PhaseLog.GetLines())
	}
	return nil, nil
}

// said keeps what a step says; nothing of a step that there is not.
func (t *Track) said(step *Step, raw []string) (*Step, []string) {
	if step == nil {
		return nil, nil
	}
	var lines []string
	for _, line := range raw {
		lines = append(lines, printable.Line(line))
	}
	step.Logs = append(step.Logs, lines...)
	step.Logs = step.Logs[max(0, len(step.Logs)-keptLogs):]
	return step, lines
}

// running is the step of a phase that has begun.
func (t *Track) running(phase kilnv1.BuildState) *Step {
	of := map[kilnv1.BuildState]*Step{kilnv1.BuildState_BUILD_STATE_RESOLVING: &t.phases[0], kilnv1.BuildState_BUILD_STATE_PLANNING: &t.phases[1]}
	if step := of[phase]; step != nil && step.State == Running {
		return step
	}
	return nil
}

// Steps are those that did something, in the order of their numbers.
func (t *Track) Steps() []*Step { return t.started }

// Counts says how many nodes there are and how many of them ended in which way.
func (t *Track) Counts() (total, done, hit int) {
	for i := range t.nodes {
		switch t.nodes[i].State {
		case Done:
			done++
		case Hit:
			hit++
		}
	}
	return len(t.nodes), done, hit
}

// phase follows the build's own state: resolving and planning are shown as steps. It returns the one that ended.
func (t *Track) phase(change *kilnv1.StateChanged, at time.Time) *Step {
	last := t.Build
	t.Build = change.GetState()
	if t.Build == last {
		return nil
	}
	var ended *Step
	resolve, plan := &t.phases[0], &t.phases[1]
	switch t.Build {
	case kilnv1.BuildState_BUILD_STATE_RESOLVING:
		resolve.Label = "resolve references"
		t.begin(resolve, at)
		return resolve
	case kilnv1.BuildState_BUILD_STATE_PLANNING:
		ended = end(resolve, Done, at)
		plan.Label = "plan"
		t.begin(plan, at)
	case kilnv1.BuildState_BUILD_STATE_RUNNING:
		end(resolve, Done, at)
		ended = end(plan, Done, at)
	case kilnv1.BuildState_BUILD_STATE_DONE:
		t.Outputs = change.GetOutputs()
		ended = t.endAll(Done, at)
	case kilnv1.BuildState_BUILD_STATE_FAILED:
		t.Error = printable.Line(change.GetError())
		ended = t.endAll(Canceled, at)
	case kilnv1.BuildState_BUILD_STATE_CANCELED:
		t.Error = printable.Line(change.GetError())
		ended = t.endAll(Canceled, at)
	}
	return ended
}

// endAll ends what still runs when the build ends: a phase that ran when the build failed is what failed.
func (t *Track) endAll(state State, at time.Time) *Step {
	var ended *Step
	for i := range t.phases {
		how := state
		if how == Canceled && t.Build == kilnv1.BuildState_BUILD_STATE_FAILED {
			how = Failed
		}
		if step := end(&t.phases[i], how, at); step != nil {
			step.Error = t.Error
			ended = step
		}
	}
	for i := range t.nodes {
		end(&t.nodes[i], state, at)
	}
	return ended
}

func (t *Track) graph(graph *kilnv1.GraphKnown) {
	if len(t.nodes) > 0 {
		return
	}
	t.nodes = make([]Step, len(graph.GetLabels()))
	for i, label := range graph.GetLabels() {
		t.nodes[i].Label = printable.Line(label)
		if i < len(graph.GetKinds()) {
			t.nodes[i].Kind = printable.Line(graph.GetKinds()[i])
		}
		if t.nodes[i].Label == "" {
			t.nodes[i].Label = t.nodes[i].Kind
		}
	}
}

func (t *Track) node(i uint32) *Step {
	if int64(i) >= int64(len(t.nodes)) {
		return nil
	}
	return &t.nodes[i]
}

func (t *Track) change(step *Step, change *kilnv1.NodeChanged, at time.Time) {
	took := time.Duration(change.GetDurationUs()) * time.Microsecond
	switch change.GetState() {
	case kilnv1.NodeState_NODE_STATE_RUNNING:
		t.begin(step, at)
		return
	case kilnv1.NodeState_NODE_STATE_RETRY:
		t.number(step)
		step.State, step.Logs = Waiting, nil
		step.Retries++
		step.Error = printable.Line(change.GetError())
		return
	case kilnv1.NodeState_NODE_STATE_DONE:
		step.State = Done
	case kilnv1.NodeState_NODE_STATE_HIT:
		step.State = Hit
	case kilnv1.NodeState_NODE_STATE_FAILED:
		step.State = Failed
	default:
		return
	}
	t.number(step)
	step.Error = printable.Line(change.GetError())
	if makesBytes(step.Kind) {
		step.Bytes = change.GetBytes()
	}
	step.Took = took
	if took == 0 && step.State != Hit && !step.Started.IsZero() {
		step.Took = at.Sub(step.Started)
	}
}

// makesBytes says that the outputs of a kind are bytes of an image. Those of the others describe where such bytes
// are, and their size says nothing to anybody.
func makesBytes(kind string) bool { return kind == step.InitrdPart }

func (t *Track) begin(step *Step, at time.Time) {
	t.number(step)
	step.State, step.Started, step.Error = Running, at, ""
}

func (t *Track) number(step *Step) {
	if step.Number == 0 {
		t.started = append(t.started, step)
		step.Number = len(t.started)
	}
}

// end ends a running step; nil when it did not run.
func end(step *Step, state State, at time.Time) *Step {
	if step.State != Running {
		return nil
	}
	step.State, step.Took = state, at.Sub(step.Started)
	return step
}
