package explain

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Step is one step of a build and the reason for what became of it.
type Step struct {
	Label    string   `json:"label"`
	Kind     string   `json:"kind"`
	Key      string   `json:"key"`
	Hit      bool     `json:"hit"`
	Builder  string   `json:"builder,omitempty"`
	Duration float64  `json:"seconds"`
	Reasons  []string `json:"reasons"`
}

// Build explains the steps of a build, in the order of its graph. Previous is nil when there is none.
func Build(build, previous *kilnv1.BuildRecord) []Step {
	before := match(previous.GetNodes())
	makers := producers(build.GetNodes())
	var steps []Step
	for _, node := range build.GetNodes() {
		s := Step{
			Label: node.GetLabel(), Kind: node.GetKind(), Key: node.GetKey(), Hit: node.GetHit(),
			Builder: node.GetBuilder(), Duration: float64(node.GetDurationUs()) / 1e6,
		}
		old := before.take(node)
		switch {
		case node.GetKey() == "":
			s.Reasons = []string{"it was never ready to run"}
		case node.GetHit() && old != nil && old.GetKey() == node.GetKey():
			s.Reasons = []string{"nothing in it changed"}
		case node.GetHit():
			s.Reasons = []string{"another build had made the same"}
		case previous == nil:
			s.Reasons = []string{"there was no build of this name before"}
		case old == nil:
			s.Reasons = []string{"the last build had no such step"}
		case old.GetKey() == node.GetKey():
			s.Reasons = []string{"nothing in it changed, but its result was no longer in the cache"}
		default:
			s.Reasons = differences(old, node, makers)
		}
		steps = append(steps, s)
	}
	return steps
}

// matcher finds a step's counterpart in the build before: the same key, else the same label and kind.
type matcher struct {
	byKey   map[string]*kilnv1.NodeRecord
	byLabel map[string][]*kilnv1.NodeRecord
}

func match(nodes []*kilnv1.NodeRecord) matcher {
	m := matcher{map[string]*kilnv1.NodeRecord{}, map[string][]*kilnv1.NodeRecord{}}
	for _, node := range nodes {
		if node.GetKey() != "" {
			m.byKey[node.GetKey()] = node
		}
		name := node.GetKind() + "\x00" + node.GetLabel()
		m.byLabel[name] = append(m.byLabel[name], node)
	}
	return m
}

// take gives each node of a label in turn, since several platforms may share one.
func (m matcher) take(node *kilnv1.NodeRecord) *kilnv1.NodeRecord {
	name := node.GetKind() + "\x00" + node.GetLabel()
	same := m.byLabel[name]
	var first *kilnv1.NodeRecord
	if len(same) > 0 {
		first = same[0]
		m.byLabel[name] = same[1:]
	}
	if exact := m.byKey[node.GetKey()]; exact != nil && node.GetKey() != "" {
		return exact
	}
	return first
}

// producers maps digests of outputs to the label of the step that made them.
func producers(nodes []*kilnv1.NodeRecord) map[string]string {
	out := map[string]string{}
	for _, node := range nodes {
		for _, o := range node.GetOutputs() {
			if _, ok := out[o.GetDigest()]; !ok {
				out[o.GetDigest()] = node.GetLabel()
			}
		}
	}
	return out
}

// differences lists what is not the same in two steps of one label, never nothing.
func differences(old, now *kilnv1.NodeRecord, makers map[string]string) []string {
	var out []string
	if old.GetVersion() != now.GetVersion() {
		out = append(out, fmt.Sprintf("Kiln makes %s in another way now (version %d, was %d)", now.GetKind(), now.GetVersion(), old.GetVersion()))
	}
	out = append(out, parameters(old.GetParams(), now.GetParams())...)
	out = append(out, inputs(old.GetInputs(), now.GetInputs(), makers)...)
	if len(out) == 0 {
		out = append(out, "it is for another platform")
	}
	return out
}

func inputs(old, now []*kilnv1.NamedDigest, makers map[string]string) []string {
	before := map[string]string{}
	for _, in := range old {
		before[in.GetName()] = in.GetDigest()
	}
	var out []string
	for _, in := range now {
		was, ok := before[in.GetName()]
		delete(before, in.GetName())
		switch name := inputName(in, makers); {
		case !ok:
			out = append(out, fmt.Sprintf("input %s is new", name))
		case was != in.GetDigest():
			out = append(out, fmt.Sprintf("input %s changed (%s, was %s)", name, short(in.GetDigest()), short(was)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		out = append(out, fmt.Sprintf("input %s is gone", name))
	}
	return out
}

// inputName is the input's name, and the step that made it when that is known.
func inputName(in *kilnv1.NamedDigest, makers map[string]string) string {
	if label := makers[in.GetDigest()]; label != "" {
		return fmt.Sprintf("%s from %q", in.GetName(), label)
	}
	return in.GetName()
}

// parameters compares two JSON objects by field.
func parameters(old, now []byte) []string {
	if string(old) == string(now) {
		return nil
	}
	var before, after map[string]json.RawMessage
	if json.Unmarshal(old, &before) != nil || json.Unmarshal(now, &after) != nil {
		return []string{"its parameters changed"}
	}
	names := map[string]bool{}
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	var out []string
	for _, name := range slices.SortedFunc(maps.Keys(names), cmp.Compare[string]) {
		if string(before[name]) != string(after[name]) {
			out = append(out, fmt.Sprintf("parameter %s is %s, was %s", name, value(after[name]), value(before[name])))
		}
	}
	return out
}

// maxValue is how much of a parameter is shown, in bytes.
const maxValue = 60

func value(raw json.RawMessage) string {
	if raw == nil {
		return "not set"
	}
	if len(raw) > maxValue {
		return strings.ToValidUTF8(string(raw[:maxValue]), "") + "…"
	}
	return string(raw)
}

func short(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex[:min(len(hex), 12)]
}
