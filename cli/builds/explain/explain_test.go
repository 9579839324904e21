package explain

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	oldDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	newDigest = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

func TestReasons(t *testing.T) {
	node := func(change func(*kilnv1.NodeRecord)) *kilnv1.NodeRecord {
		n := &kilnv1.NodeRecord{Label: "web", Kind: "segment", Version: 1, Key: "k1", Params: []byte(`{"prefix":"a","rule":"image"}`),
			Inputs: []*kilnv1.NamedDigest{{Name: "tree", Digest: oldDigest}}}
		if change != nil {
			change(n)
		}
		return n
	}
	build := func(nodes ...*kilnv1.NodeRecord) *kilnv1.BuildRecord { return &kilnv1.BuildRecord{Nodes: nodes} }
	before := build(node(nil))
	for _, c := range []struct {
		name     string
		build    *kilnv1.BuildRecord
		previous *kilnv1.BuildRecord
		want     []string
	}{
		{"the same step is a hit", build(node(func(n *kilnv1.NodeRecord) { n.Hit = true })), before, []string{"nothing in it changed"}},
		{"the same step ran again", build(node(nil)), before, []string{"nothing in it changed, but its result was no longer in the cache"}},
		{"a hit on what another build made", build(node(func(n *kilnv1.NodeRecord) { n.Key, n.Hit = "k2", true })), before, []string{"another build had made the same"}},
		{"the first build of a name", build(node(nil)), nil, []string{"there was no build of this name before"}},
		{"a step that is new", build(node(func(n *kilnv1.NodeRecord) { n.Key, n.Label = "k2", "db" })), before, []string{"the last build had no such step"}},
		{"a step that never ran", build(node(func(n *kilnv1.NodeRecord) { n.Key = "" })), before, []string{"it was never ready to run"}},
		{"a parameter changed", build(node(func(n *kilnv1.NodeRecord) { n.Key, n.Params = "k2", []byte(`{"prefix":"b","source":"s"}`) })), before,
			[]string{`parameter prefix is "b", was "a"`, `parameter rule is not set, was "image"`, `parameter source is "s", was not set`}},
		{"parameters that are no JSON", build(node(func(n *kilnv1.NodeRecord) { n.Key, n.Params = "k2", []byte(`x`) })), before, []string{"its parameters changed"}},
		{"an input changed, and it is known who made it", build(
			node(func(n *kilnv1.NodeRecord) {
				n.Label, n.Key, n.Hit, n.Outputs = "unpack web", "k0", true, []*kilnv1.Output{{Name: "tree", Digest: newDigest}}
			}),
			node(func(n *kilnv1.NodeRecord) { n.Key, n.Inputs[0].Digest = "k2", newDigest })), before,
			[]string{`input tree from "unpack web" changed (222222222222, was 111111111111)`}},
		{"an input came and one went", build(node(func(n *kilnv1.NodeRecord) { n.Key, n.Inputs[0].Name = "k2", "other" })), before,
			[]string{"input other is new", "input tree is gone"}},
		{"another version", build(node(func(n *kilnv1.NodeRecord) { n.Key, n.Version = "k2", 2 })), before,
			[]string{"Kiln makes segment in another way now (version 2, was 1)"}},
		{"nothing to see", build(node(func(n *kilnv1.NodeRecord) { n.Key = "k2" })), before, []string{"it is for another platform"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps := Build(c.build, c.previous)
			if diff := cmp.Diff(c.want, steps[len(steps)-1].Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEqualLabelsAreMatchedInTurn(t *testing.T) {
	nodes := func(a, b string) *kilnv1.BuildRecord {
		return &kilnv1.BuildRecord{Nodes: []*kilnv1.NodeRecord{
			{Label: "init", Kind: "segment", Key: a + "1", Params: []byte(`{"prefix":"` + a + `"}`)},
			{Label: "init", Kind: "segment", Key: b + "2", Params: []byte(`{"prefix":"` + b + `"}`)},
		}}
	}
	steps := Build(nodes("c", "d"), nodes("a", "b"))
	want := [][]string{{`parameter prefix is "c", was "a"`}, {`parameter prefix is "d", was "b"`}}
	for i, s := range steps {
		if diff := cmp.Diff(want[i], s.Reasons); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}
