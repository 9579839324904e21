package results

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestGraphsThatAreNotValid(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*kilnv1.Graph)
		want   string
	}{
		{"a valid one", func(*kilnv1.Graph) {}, ""},
		{"too many steps", func(g *kilnv1.Graph) { g.Nodes = make([]*kilnv1.Node, maxGraphNodes+1) }, "at most 100000 are allowed"},
		{"an unknown version", func(g *kilnv1.Graph) { g.Nodes[0].Version = 99 }, "version 99 of kind segment is not supported"},
		{"a plan in a plan", func(g *kilnv1.Graph) { g.Nodes[0].Kind = step.Plan }, "unknown kind"},
		{"large parameters", func(g *kilnv1.Graph) { g.Nodes[0].Params = make([]byte, maxParams+1) }, "at most 65536 are allowed"},
		{"an input from later", func(g *kilnv1.Graph) { g.Nodes[1].Inputs[0].GetOutput().Node = 1 }, "comes from step 1, which is not before it"},
		{"an input from nowhere", func(g *kilnv1.Graph) { g.Nodes[1].Inputs[0].From = nil }, "comes from nowhere"},
		{"an input that is no digest", func(g *kilnv1.Graph) { g.Nodes[0].Inputs = []*kilnv1.Input{{From: &kilnv1.Input_Digest{Digest: "x"}}} }, "digest"},
		{"an output of no step", func(g *kilnv1.Graph) { g.Targets[0].From.Node = 7 }, "made by a step that does not exist"},
		{"an output outside its directory", func(g *kilnv1.Graph) { g.Targets[0].File = "/../../x" }, "no usable file name"},
		{"an output twice", func(g *kilnv1.Graph) { g.Targets = append(g.Targets, g.Targets[0]) }, "is there twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := chainOf(2)
			c.change(g)
			err := checkGraph(g)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheIndexStaysInItsBounds(t *testing.T) {
	x := NewIndex(10_000)
	for i := range 1000 {
		x.Put(fmt.Sprint(i), &kilnv1.Result{Key: strings.Repeat("k", 100)})
		x.get("0")
	}
	if x.size > 10_000 || len(x.byKey) != x.order.Len() {
		t.Errorf("%d bytes, %d keys, %d in order", x.size, len(x.byKey), x.order.Len())
	}
	if x.get("0") == nil || x.get("1") != nil {
		t.Error("what was used last went first")
	}
}

// chainOf is a graph of n steps, each of which takes what the one before it made.
func chainOf(n int) *kilnv1.Graph {
	g := &kilnv1.Graph{}
	for i := range n {
		node := &kilnv1.Node{Kind: step.Segment, Version: step.Versions[step.Segment], Label: fmt.Sprint("step ", i)}
		if i > 0 {
			node.Inputs = []*kilnv1.Input{{Name: "in", From: &kilnv1.Input_Output{Output: &kilnv1.NodeOutput{Node: uint32(i - 1), Name: "out"}}}}
		}
		g.Nodes = append(g.Nodes, node)
	}
	g.Targets = []*kilnv1.Target{{Platform: "linux/amd64", Format: "tar", File: ".tar", From: &kilnv1.NodeOutput{Node: uint32(n - 1), Name: "out"}}}
	return g
}
