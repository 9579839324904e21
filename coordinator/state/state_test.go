package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// driver applies single commands and keeps the changes of the last one.
type driver struct {
	t       testing.TB
	m       *Machine
	now     int64
	changes []Change
}

func (d *driver) do(c *kilnv1.Command) Result {
	out := d.m.Apply(&kilnv1.Entry{Level: Level(), UnixMs: d.now, Commands: []*kilnv1.Command{c}})
	d.changes = out.Changes
	return out.Results[0]
}

func (d *driver) must(c *kilnv1.Command) Result {
	d.t.Helper()
	r := d.do(c)
	if r.Refused != "" {
		d.t.Fatalf("%T was refused: %s", c.Command, r.Refused)
	}
	return r
}

func submitCommand(id string) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Submit{Submit: &kilnv1.SubmitCommand{
		Spec: &kilnv1.BuildSpec{Id: id, Config: digest("config")}, ResolveParams: []byte(id),
	}}}
}

func (d *driver) key(build string, node int) string { return d.m.Build(build).Nodes[node].Key }

func (d *driver) lease(key string) *kilnv1.CompleteRequest {
	d.t.Helper()
	if t := d.m.Task(key); t != nil && t.State == Fresh {
		d.must(&kilnv1.Command{Command: &kilnv1.Command_Looked{Looked: &kilnv1.LookedCommand{Task: key}}})
	}
	r := d.must(&kilnv1.Command{Command: &kilnv1.Command_Lease{Lease: &kilnv1.LeaseCommand{Task: key, Builder: "b"}}})
	return &kilnv1.CompleteRequest{Builder: "b", Epoch: d.m.Epoch(), Number: r.Lease, Task: key}
}

func complete(c *kilnv1.CompleteRequest) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Complete{Complete: c}}
}

// run leases a node's task and completes it with one output of each name.
func (d *driver) run(build string, node int) {
	d.t.Helper()
	c := d.lease(d.key(build, node))
	c.Completion, c.Outputs = kilnv1.Completion_COMPLETION_DONE, outputs(c.Task)
	d.must(complete(c))
}

// node of a graph, with the outputs of earlier ones as inputs.
func graphNode(params string, from ...int) *kilnv1.AttachNode {
	n := &kilnv1.Node{Kind: step.Segment, Version: 1, Params: []byte(params), Label: "step " + params}
	for _, f := range from {
		n.Inputs = append(n.Inputs, &kilnv1.Input{Name: "i", From: &kilnv1.Input_Output{Output: &kilnv1.NodeOutput{Node: uint32(f), Name: "out"}}})
	}
	return &kilnv1.AttachNode{Node: n, Missed: true}
}

func attachCommand(build string, nodes ...*kilnv1.AttachNode) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Attach{Attach: &kilnv1.AttachCommand{Build: build, Total: uint32(len(nodes)), Nodes: nodes}}}
}

// planned is a machine with a build "planned" whose plan is done, and its graph if there are nodes.
func planned(t testing.TB, nodes ...*kilnv1.AttachNode) *Machine { return drive(t, nodes...).m }

func drive(t testing.TB, nodes ...*kilnv1.AttachNode) *driver {
	t.Helper()
	d := &driver{t: t, m: New(), now: 1000}
	d.must(&kilnv1.Command{Command: &kilnv1.Command_Epoch{Epoch: &kilnv1.EpochCommand{Epoch: 1}}})
	d.plan("planned", nodes...)
	return d
}

func (d *driver) plan(id string, nodes ...*kilnv1.AttachNode) {
	d.t.Helper()
	d.must(submitCommand(id))
	d.run(id, ResolveNode)
	if d.m.Build(id).Nodes[PlanNode].State != Done {
		d.run(id, PlanNode)
	}
	if len(nodes) > 0 {
		d.must(attachCommand(id, nodes...))
	}
}

func (d *driver) wantState(build string, want kilnv1.BuildState) {
	d.t.Helper()
	if b := d.m.Build(build); b.State != want {
		d.t.Fatalf("build %s is %v (%s), want %v", build, b.State, b.Error, want)
	}
}

func TestABuildGoesThroughItsStates(t *testing.T) {
	d := drive(t)
	d.wantState("planned", kilnv1.BuildState_BUILD_STATE_PLANNING)
	d.must(attachCommand("planned", graphNode("a"), graphNode("b", 0)))
	d.wantState("planned", kilnv1.BuildState_BUILD_STATE_RUNNING)
	d.run("planned", GraphNode)
	d.run("planned", GraphNode+1)
	if !d.m.Build("planned").Complete() {
		t.Fatal("the build is not complete")
	}
	d.must(&kilnv1.Command{Command: &kilnv1.Command_Finish{Finish: &kilnv1.FinishCommand{Build: "planned"}}})
	d.wantState("planned", kilnv1.BuildState_BUILD_STATE_DONE)
	d.must(&kilnv1.Command{Command: &kilnv1.Command_Forget{Forget: &kilnv1.ForgetCommand{Build: "planned"}}})
	if r := d.must(submitCommand("planned")); !r.Existing {
		t.Error("the same id is another build right after it left")
	}
	d.now += seenWindow + 1
	d.plan("other")
	d.must(&kilnv1.Command{Command: &kilnv1.Command_Cancel{Cancel: &kilnv1.CancelCommand{Build: "other"}}})
	d.must(&kilnv1.Command{Command: &kilnv1.Command_Forget{Forget: &kilnv1.ForgetCommand{Build: "other"}}})
	if r := d.must(submitCommand("planned")); r.Existing {
		t.Error("an id is remembered for ever")
	}
}

func TestHitsNeedNoBuilder(t *testing.T) {
	d := drive(t)
	nodes := []*kilnv1.AttachNode{graphNode("a"), graphNode("b", 0)}
	// What the leader does: the key of the second follows from the hit of the first.
	first := step.Key(step.Segment, 1, []byte("a"), "", nil).String()
	nodes[0].Hit, nodes[0].Missed = &kilnv1.Result{Key: first, Outputs: outputs(first)}, false
	d.must(attachCommand("planned", nodes[0], graphNode("b", 0)))
	n := d.m.Build("planned").Nodes
	if n[GraphNode].State != Done || !n[GraphNode].Hit || n[GraphNode+1].State != Attached {
		t.Fatalf("states %d, %d", n[GraphNode].State, n[GraphNode+1].State)
	}
}

func TestTwoBuildsShareATask(t *testing.T) {
	d := drive(t, graphNode("a"))
	d.plan("second", graphNode("a"))
	if d.key("planned", GraphNode) != d.key("second", GraphNode) {
		t.Fatal("equal steps have different keys")
	}
	c := d.lease(d.key("planned", GraphNode))
	d.must(&kilnv1.Command{Command: &kilnv1.Command_Cancel{Cancel: &kilnv1.CancelCommand{Build: "planned"}}})
	if d.m.Task(c.Task) == nil {
		t.Fatal("the task went away with the first of two builds")
	}
	d.must(&kilnv1.Command{Command: &kilnv1.Command_Cancel{Cancel: &kilnv1.CancelCommand{Build: "second"}}})
	if d.m.Task(c.Task) != nil {
		t.Fatal("the task is there though nobody waits for it")
	}
	last := d.changes[len(d.changes)-2]
	if last.Kind != TaskGone || last.Lease != c.Number {
		t.Errorf("got change %+v, want that lease %d is to be stopped", last, c.Number)
	}
	if r := d.do(complete(c)); r.Refused != RefusedStale {
		t.Errorf("a completion for a task that left: %q", r.Refused)
	}
}

func TestCompletions(t *testing.T) {
	for _, c := range []struct {
		name  string
		how   *kilnv1.CompleteRequest
		times int
		want  TaskState
		fails string
	}{
		{"infra makes the task ready again", &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_INFRA, Error: "e"}, 1, Ready, ""},
		{"infra too often fails the build", &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_INFRA, Error: "disk"}, maxInfra, 0, "step a: given up after 8 tries: disk"},
		{"the step's own fault fails the build at once", &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_FAILED, Error: "bad"}, 1, 0, "step a: bad"},
		{"outputs that are none count as infra", &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_DONE, Outputs: []*kilnv1.Output{{Name: "x", Digest: "y"}}}, 1, Ready, ""},
		{"an input that nobody makes counts as infra", &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_INPUT_MISSING, Missing: digest("?")}, 1, Ready, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := drive(t, graphNode("a"))
			key := d.key("planned", GraphNode)
			for range c.times {
				d.now += 100_000
				lease := d.lease(key)
				lease.Completion, lease.Error, lease.Missing, lease.Outputs = c.how.Completion, c.how.Error, c.how.Missing, c.how.Outputs
				d.must(complete(lease))
			}
			if c.fails != "" {
				d.wantState("planned", kilnv1.BuildState_BUILD_STATE_FAILED)
				if got := d.m.Build("planned").Error; got != c.fails {
					t.Errorf("got %q, want %q", got, c.fails)
				}
				return
			}
			if got := d.m.Task(key).State; got != c.want {
				t.Errorf("got state %d, want %d", got, c.want)
			}
			if r := d.do(&kilnv1.Command{Command: &kilnv1.Command_Lease{Lease: &kilnv1.LeaseCommand{Task: key, Builder: "b"}}}); r.Refused != RefusedNotReady {
				t.Errorf("leased again before the wait was over: %q", r.Refused)
			}
		})
	}
}

func TestALostInputIsMadeAgain(t *testing.T) {
	d := drive(t, graphNode("a"), graphNode("b", 0))
	d.run("planned", GraphNode)
	producer, consumer := d.key("planned", GraphNode), d.key("planned", GraphNode+1)
	for i := range maxMisses + 1 {
		c := d.lease(consumer)
		c.Completion, c.Missing = kilnv1.Completion_COMPLETION_INPUT_MISSING, outputs(producer)[0].Digest
		d.must(complete(c))
		if i == maxMisses {
			break
		}
		if p, q := d.m.Task(producer).State, d.m.Task(consumer).State; p != Ready || q != Blocked {
			t.Fatalf("producer in state %d, consumer in %d", p, q)
		}
		d.run("planned", GraphNode)
		if q := d.m.Task(consumer).State; q != Ready {
			t.Fatalf("consumer in state %d after the producer ran", q)
		}
	}
	d.wantState("planned", kilnv1.BuildState_BUILD_STATE_FAILED)
	if got := d.m.Build("planned").Error; !strings.Contains(got, "was lost 6 times") {
		t.Errorf("got %q", got)
	}
}

func TestALostOutputIsMadeAgain(t *testing.T) {
	d := drive(t, graphNode("a"))
	d.run("planned", GraphNode)
	out := outputs(d.key("planned", GraphNode))[0].Digest
	d.must(&kilnv1.Command{Command: &kilnv1.Command_Lost{Lost: &kilnv1.LostCommand{Build: "planned", Digest: out}}})
	if d.m.Build("planned").Complete() {
		t.Fatal("complete without its output")
	}
	d.run("planned", GraphNode)
	if !d.m.Build("planned").Complete() {
		t.Fatal("not complete after the step ran again")
	}
}

func TestALostBlobIsMadeByTheFirstStepThatGaveIt(t *testing.T) {
	d := drive(t, graphNode("a"), graphNode("b", 0))
	d.run("planned", GraphNode)
	made := outputs(d.key("planned", GraphNode))[0].Digest
	c := d.lease(d.key("planned", GraphNode+1))
	c.Completion, c.Outputs, c.References = kilnv1.Completion_COMPLETION_DONE, outputs(c.Task), []string{made}
	d.must(complete(c))
	lost := &kilnv1.Command{Command: &kilnv1.Command_Lost{Lost: &kilnv1.LostCommand{Build: "planned", Digest: made}}}
	if got := d.m.MadeBy(made); !slices.Equal(got, []string{"planned", "planned"}) {
		t.Errorf("made by %q", got)
	}
	d.must(lost)
	d.must(lost) // another reader says the same
	if p, q := d.m.Task(d.key("planned", GraphNode)).State, d.m.Task(d.key("planned", GraphNode+1)).State; p != Ready || q != Made {
		t.Errorf("the maker is in state %d, and the one that refers to it in %d", p, q)
	}
	d.run("planned", GraphNode)
	if !d.m.Build("planned").Complete() {
		t.Error("not complete after the step ran again")
	}
	if got := d.m.Build("planned").losses; got != 1 {
		t.Errorf("%d losses are counted", got)
	}
}

func TestCommandsThatMakeNoSenseChangeNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		c    *kilnv1.Command
		want Refusal
	}{
		{"no command", &kilnv1.Command{}, RefusedInvalid},
		{"a build without an id", submitCommand(""), RefusedInvalid},
		{"a lease of nothing", &kilnv1.Command{Command: &kilnv1.Command_Lease{Lease: &kilnv1.LeaseCommand{Task: "x", Builder: "b"}}}, RefusedUnknown},
		{"an end of no build", &kilnv1.Command{Command: &kilnv1.Command_Cancel{Cancel: &kilnv1.CancelCommand{Build: "x"}}}, RefusedUnknown},
		{"a finish before the graph", &kilnv1.Command{Command: &kilnv1.Command_Finish{Finish: &kilnv1.FinishCommand{Build: "planned"}}}, RefusedTooEarly},
		{"a forget before the end", &kilnv1.Command{Command: &kilnv1.Command_Forget{Forget: &kilnv1.ForgetCommand{Build: "planned"}}}, RefusedTooEarly},
		{"a node that needs a later one", attachCommand("planned", graphNode("a", 1), graphNode("b")), RefusedInvalid},
		{"a run of nodes out of order", &kilnv1.Command{Command: &kilnv1.Command_Attach{Attach: &kilnv1.AttachCommand{Build: "planned", First: 3, Total: 9}}}, RefusedInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := drive(t)
			before := string(snapshotOf(t, d.m))
			if r := d.do(c.c); r.Refused != c.want {
				t.Errorf("got %q, want %q", r.Refused, c.want)
			}
			if string(snapshotOf(t, d.m)) != before {
				t.Error("the state changed")
			}
		})
	}
}

func TestANewerLevelChangesNothing(t *testing.T) {
	d := drive(t)
	before := string(snapshotOf(t, d.m))
	out := d.m.Apply(&kilnv1.Entry{Level: Level() + 1, UnixMs: 1 << 40, Commands: []*kilnv1.Command{submitCommand("x")}})
	if out.Results[0].Refused != RefusedLevel || string(snapshotOf(t, d.m)) != before {
		t.Errorf("got %+v", out)
	}
}

func BenchmarkAttachHits(b *testing.B) {
	var nodes []*kilnv1.AttachNode
	for i := range 1000 {
		n := graphNode(fmt.Sprint(i))
		key := step.Key(step.Segment, 1, []byte(fmt.Sprint(i)), "", nil).String()
		n.Hit = &kilnv1.Result{Key: key, Outputs: outputs(key)}
		nodes = append(nodes, n)
	}
	for b.Loop() {
		b.StopTimer()
		d := drive(b)
		b.StartTimer()
		d.must(attachCommand("planned", nodes...))
	}
}
