package results

import (
	"context"
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// checkGraph says what is wrong with a graph that a builder made. After it nothing in the graph can hurt the leader.
func checkGraph(g *kilnv1.Graph) error {
	if n := len(g.GetNodes()); n > maxGraphNodes {
		return fmt.Errorf("the plan has %d steps, at most %d are allowed: build fewer architectures or formats at once", n, maxGraphNodes)
	}
	for i, n := range g.GetNodes() {
		if err := checkNode(i, n); err != nil {
			return fmt.Errorf("the plan is not valid: step %d (%.80q): %w", i, n.GetLabel(), err)
		}
	}
	files := map[string]bool{}
	for i, t := range g.GetTargets() {
		at := fmt.Sprintf("the plan is not valid: output %d (%.80q)", i, t.GetFile())
		if int64(t.GetFrom().GetNode()) >= int64(len(g.GetNodes())) || t.GetFrom() == nil {
			return fmt.Errorf("%s is made by a step that does not exist", at)
		}
		if f := t.GetFile(); f == "" || len(f) > 200 || path.Base("x"+f) != "x"+f || strings.ContainsRune(f, 0) {
			return fmt.Errorf("%s has no usable file name", at)
		}
		if id := t.GetPlatform() + "\x00" + t.GetFormat() + "\x00" + t.GetFile(); files[id] {
			return fmt.Errorf("%s is there twice", at)
		} else {
			files[id] = true
		}
	}
	return nil
}

func checkNode(i int, n *kilnv1.Node) error {
	version, known := step.Versions[n.GetKind()]
	switch {
	case !known || n.GetKind() == step.Resolve || n.GetKind() == step.Plan:
		return fmt.Errorf("unknown kind %.40q: coordinators and builders are of different releases", n.GetKind())
	case n.GetVersion() != version:
		return fmt.Errorf("version %d of kind %s is not supported, only %d: coordinators and builders are of different releases", n.GetVersion(), n.GetKind(), version)
	case len(n.GetParams()) > maxParams:
		return fmt.Errorf("its parameters have %d bytes, at most %d are allowed", len(n.GetParams()), maxParams)
	case len(n.GetLabel()) > 1024 || len(n.GetPlatform()) > 64:
		return fmt.Errorf("its label or platform is too long")
	}
	for _, in := range n.GetInputs() {
		switch from := in.GetFrom().(type) {
		case *kilnv1.Input_Digest:
			if _, err := cache.ParseDigest(from.Digest); err != nil {
				return fmt.Errorf("input %.80q: %w", in.GetName(), err)
			}
		case *kilnv1.Input_Output:
			if int64(from.Output.GetNode()) >= int64(i) {
				return fmt.Errorf("input %.80q comes from step %d, which is not before it", in.GetName(), from.Output.GetNode())
			}
		default:
			return fmt.Errorf("input %.80q comes from nowhere", in.GetName())
		}
	}
	return nil
}

// attachable looks up all of a graph that can be known now, wave by wave: a hit makes the keys of the nodes
// behind it known. With everything in the index it is one pass and one look at the blobs.
func (r *results) attachable(ctx context.Context, g *kilnv1.Graph) ([]*kilnv1.AttachNode, error) {
	w := newWaves(g)
	for len(w.known) > 0 {
		hits := map[string]*kilnv1.Result{}
		var wave, asked []int
		var ask []string
		for ; len(w.known) > 0; w.known = w.known[1:] {
			i := w.known[0]
			wave = append(wave, i)
			w.keys[i] = graphKey(w.nodes, i)
			if hit, ok := r.index.get(w.keys[i]).(*kilnv1.Result); ok {
				hits[w.keys[i]] = hit
				w.hit(i, hit)
			} else {
				ask, asked = append(ask, w.keys[i]), append(asked, i)
			}
		}
		found, err := r.read(ctx, ask)
		if err != nil {
			return nil, err
		}
		maps.Copy(hits, found)
		if err := r.verify(ctx, hits); err != nil {
			return nil, err
		}
		for _, i := range asked {
			if hit := hits[w.keys[i]]; hit != nil {
				w.hit(i, hit)
			}
		}
		for _, i := range wave {
			w.nodes[i].Hit = hits[w.keys[i]]
			w.nodes[i].Missed = w.nodes[i].Hit == nil
		}
	}
	return w.nodes, nil
}

// waves walks a graph from its sources on.
type waves struct {
	nodes   []*kilnv1.AttachNode
	keys    []string
	unknown []int   // inputs of each node that are not known
	users   [][]int // nodes that take an output of each
	known   []int   // nodes that know all their inputs and were not looked at
}

func newWaves(g *kilnv1.Graph) *waves {
	n := len(g.GetNodes())
	w := &waves{nodes: make([]*kilnv1.AttachNode, n), keys: make([]string, n), unknown: make([]int, n), users: make([][]int, n)}
	for i, node := range g.GetNodes() {
		w.nodes[i] = &kilnv1.AttachNode{Node: node}
		for _, in := range node.GetInputs() {
			if out := in.GetOutput(); out != nil {
				w.users[out.GetNode()] = append(w.users[out.GetNode()], i)
				w.unknown[i]++
			}
		}
		if w.unknown[i] == 0 {
			w.known = append(w.known, i)
		}
	}
	return w
}

func (w *waves) hit(i int, hit *kilnv1.Result) {
	w.nodes[i].Hit = hit
	for _, u := range w.users[i] {
		if w.unknown[u]--; w.unknown[u] == 0 {
			w.known = append(w.known, u)
		}
	}
}

// graphKey is the key of node i; empty when it takes an output that is not there, which the state tells the user.
func graphKey(nodes []*kilnv1.AttachNode, i int) string {
	n := nodes[i].GetNode()
	inputs := make([]step.Input, len(n.GetInputs()))
	for k, in := range n.GetInputs() {
		text := in.GetDigest()
		if out := in.GetOutput(); out != nil {
			for _, o := range nodes[out.GetNode()].GetHit().GetOutputs() {
				if o.GetName() == out.GetName() {
					text = o.GetDigest()
				}
			}
		}
		digest, err := cache.ParseDigest(text)
		if err != nil {
			return ""
		}
		inputs[k] = step.Input{Name: in.GetName(), Digest: digest}
	}
	return step.Key(n.GetKind(), n.GetVersion(), n.GetParams(), n.GetPlatform(), inputs).String()
}
