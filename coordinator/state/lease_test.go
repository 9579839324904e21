package state

import (
	"testing"

	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// A step that gives back a digest it was told can make two steps each the producer of the other's input, in two
// builds. They must not wait for each other.
func TestStepsThatLieAboutTheirOutputsDoNotBlockEachOther(t *testing.T) {
	x, y := digest("x"), digest("y")
	from := func(params, input string) *kilnv1.AttachNode {
		return &kilnv1.AttachNode{Missed: true, Node: &kilnv1.Node{
			Kind: step.Segment, Version: 1, Params: []byte(params), Inputs: []*kilnv1.Input{known("i", input)},
		}}
	}
	d := drive(t, from("b", x), graphNode("a", 0), graphNode("c", 1))
	d.plan("second", from("a", y), graphNode("b", 0), graphNode("d", 1))
	give := func(key, out string) {
		t.Helper()
		c := d.lease(key)
		c.Completion, c.Outputs = kilnv1.Completion_COMPLETION_DONE, []*kilnv1.Output{{Name: "out", Digest: out}}
		d.must(complete(c))
	}
	miss := func(key, input string) {
		t.Helper()
		c := d.lease(key)
		c.Completion, c.Missing = kilnv1.Completion_COMPLETION_INPUT_MISSING, input
		d.must(complete(c))
	}
	b, a := d.key("planned", GraphNode), d.key("second", GraphNode)
	give(b, y)
	give(a, x)
	if d.key("planned", GraphNode+1) != a || d.key("second", GraphNode+1) != b {
		t.Fatal("the two builds do not share their steps")
	}
	miss(d.key("planned", GraphNode+2), x)
	miss(a, y)
	if got := d.m.Task(a); got.State != Blocked || got.blockedOn != b {
		t.Fatalf("a is in state %d, waiting for %q", got.State, got.blockedOn)
	}
	miss(b, x)
	if got := d.m.Task(b).State; got != Ready {
		t.Errorf("b is in state %d, want that it is tried again", got)
	}
}
