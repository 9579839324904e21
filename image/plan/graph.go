package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// maxParams bounds a node's parameters, in bytes (proto: Node.params).
const maxParams = 64 << 10

// nodeOutput is a product of a node of the graph.
type nodeOutput struct {
	node uint32
	name string
}

// input is what a node needs: a blob that is there already, or a product of an earlier node.
type input struct {
	name string
	blob cache.Digest // zero when from is used
	from nodeOutput
}

func blobInput(name string, d cache.Digest) input  { return input{name: name, blob: d} }
func nodeInput(name string, from nodeOutput) input { return input{name: name, from: from} }

// renamed is the same input under another name.
func (i input) renamed(name string) input {
	i.name = name
	return i
}

// graph gathers nodes; equal ones become one.
type graph struct {
	nodes     []*kilnv1.Node
	targets   []*kilnv1.Target
	known     map[string]uint32
	platforms []map[string]bool // for each node, those that use it
	platform  string            // that of what is added now
	err       error             // the first fault
}

func newGraph() *graph { return &graph{known: map[string]uint32{}} }

// add returns the node of that kind, parameters and inputs, made if it is new.
func (g *graph) add(kind, label string, params any, inputs []input, sources ...*kilnv1.Source) uint32 {
	encoded := step.EncodeParams(params)
	if len(encoded) > maxParams && g.err == nil {
		g.err = step.Failf("the step %q would need %d bytes of parameters, more than %d; split the configuration", label, len(encoded), maxParams)
	}
	identity := identify(kind, encoded, inputs)
	id, ok := g.known[identity]
	if !ok {
		id = uint32(len(g.nodes))
		g.known[identity] = id
		g.nodes = append(g.nodes, &kilnv1.Node{
			Kind: kind, Version: step.Versions[kind], Params: encoded, Label: label, Inputs: protoInputs(inputs),
		})
		g.platforms = append(g.platforms, map[string]bool{})
	}
	g.platforms[id][g.platform] = true
	for _, s := range sources {
		g.addSource(g.nodes[id], s)
	}
	return id
}

func (g *graph) addSource(node *kilnv1.Node, source *kilnv1.Source) {
	for _, s := range node.Sources {
		if s.Digest == source.Digest && s.Reference == source.Reference {
			return
		}
	}
	node.Sources = append(node.Sources, source)
}

func identify(kind string, params []byte, inputs []input) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", kind, params)
	for _, in := range inputs {
		fmt.Fprintf(&b, " %q=%s/%d.%q", in.name, in.blob, in.from.node, in.from.name)
	}
	return b.String()
}

func protoInputs(inputs []input) []*kilnv1.Input {
	out := make([]*kilnv1.Input, len(inputs))
	for i, in := range inputs {
		if in.blob.IsZero() {
			out[i] = &kilnv1.Input{Name: in.name, From: &kilnv1.Input_Output{Output: in.from.proto()}}
		} else {
			out[i] = &kilnv1.Input{Name: in.name, From: &kilnv1.Input_Digest{Digest: in.blob.String()}}
		}
	}
	return out
}

func (o nodeOutput) proto() *kilnv1.NodeOutput { return &kilnv1.NodeOutput{Node: o.node, Name: o.name} }

func (g *graph) target(format, file string, from nodeOutput) {
	g.targets = append(g.targets, &kilnv1.Target{Platform: g.platform, Format: format, File: file, From: from.proto()})
}

// finish adds to the labels of nodes that serve only some of the build's platforms which these are.
func (g *graph) finish(platforms []string) (*kilnv1.Graph, error) {
	if g.err != nil {
		return nil, g.err
	}
	for id, node := range g.nodes {
		if used := g.platforms[id]; len(used) < len(platforms) {
			node.Label += " " + strings.Join(slices.Sorted(maps.Keys(used)), " ")
		}
	}
	return &kilnv1.Graph{Nodes: g.nodes, Targets: g.targets}, nil
}
