package linuxkit

import (
	"fmt"
	"math"
	"sort"
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/kiln-farm/kiln/internal/nearest"
)

// value is a part of a document after its grammar was checked: what the rules need, with places.
type value struct {
	line   int
	text   string // a scalar as written; of !!binary its bytes
	number bool   // the scalar is a number, not a string
	list   []*value
	fields map[string]*value
}

// get returns a field; a nil value, which has no text and no items, when there is none.
func (v *value) get(name string) *value {
	if v == nil {
		return nil
	}
	return v.fields[name]
}

func (v *value) str() string {
	if v == nil {
		return ""
	}
	return v.text
}

func (v *value) isTrue() bool {
	b, _ := strconv.ParseBool(v.str())
	return b || v.str() == "True" || v.str() == "TRUE"
}

func (v *value) items() []*value {
	if v == nil {
		return nil
	}
	return v.list
}

const (
	// maxVisits bounds what aliases can make of a small document.
	maxVisits = 500_000
	// maxDepth is far beyond any configuration's, and stops a document that contains itself.
	maxDepth = 32
)

// walker compares one document with its grammar and gathers complaints.
type walker struct {
	file     string
	problems Problems
	visits   int
	over     bool // visits or depth went too far: the document is refused as a whole
}

func (w *walker) complain(line int, format string, args ...any) {
	if len(w.problems) < maxProblems {
		w.problems = append(w.problems, Problem{w.file, line, fmt.Sprintf(format, args...)})
	}
}

// walk returns what node holds, nil when it is not of shape s (which was complained about).
func (w *walker) walk(node *yaml.Node, s *shape, where string, depth int) *value {
	node = target(node)
	if w.visits++; w.visits > maxVisits || depth > maxDepth || node == nil {
		if !w.over {
			w.over = true
			w.complain(lineNumber(node), "aliases make this document too large or contain itself; write the repeated parts out")
		}
		return nil
	}
	v := &value{line: node.Line, text: node.Value}
	ok := true
	switch s.kind {
	case list:
		if ok = node.Kind == yaml.SequenceNode; ok {
			for i, child := range node.Content {
				v.list = append(v.list, w.walk(child, s.item, fmt.Sprintf("%s[%d]", where, i), depth+1))
			}
		}
	case object, mapping:
		if ok = node.Kind == yaml.MappingNode; ok {
			w.object(node, s, where, depth, v)
		}
	default:
		ok = node.Kind == yaml.ScalarNode && w.scalar(node, s, v)
	}
	if !ok {
		w.complain(node.Line, "%s must be %s, not %s; %s", where, s.want(), found(node), s.remedy(node, where))
		return nil
	}
	return v
}

// scalar checks a scalar's type, and that it decodes.
func (w *walker) scalar(node *yaml.Node, s *shape, v *value) bool {
	tag := node.ShortTag()
	v.number = tag == "!!int"
	var n float64
	isInt := v.number && node.Decode(&n) == nil && n == math.Trunc(n)
	switch s.kind {
	case text:
		return tag == "!!str" || tag == "!!timestamp" && node.Style&yaml.TaggedStyle == 0 || tag == "!!binary" && node.Decode(&v.text) == nil
	case boolean:
		var b bool
		return tag == "!!bool" && node.Decode(&b) == nil
	case integer:
		return isInt && n >= s.low && n <= s.high
	default: // identifier
		return tag == "!!str" || isInt && n >= 0 && n <= math.MaxUint32 || tag == "!!binary" && node.Decode(&v.text) == nil
	}
}

func (w *walker) object(node *yaml.Node, s *shape, where string, depth int, v *value) {
	v.fields = map[string]*value{}
	for _, p := range w.pairs(node, where, depth) {
		name := p.key.Value
		if s.kind == mapping {
			v.fields[name] = w.walk(p.value, &shape{kind: text}, where+"."+name, depth+1)
			continue
		}
		field, ok := s.fields[name]
		if !ok {
			w.complain(p.key.Line, "unknown key %q in %s; %s", name, where, suggestion(name, s.names()))
			continue
		}
		v.fields[name] = w.walk(p.value, field, child(where, name), depth+1)
	}
	for _, name := range s.required {
		if _, ok := v.fields[name]; !ok {
			w.complain(node.Line, "%s has no %q; %s", where, name, requiredRemedy[name])
		}
	}
}

var requiredRemedy = map[string]string{
	"name":  "give it one, such as \"name: web\"",
	"image": "say which image to run, such as \"image: docker.io/library/nginx:1.27\"",
}

type pair struct{ key, value *yaml.Node }

// pairs lists a mapping's keys and values with merge keys ("<<") followed; a key of the mapping's own wins.
func (w *walker) pairs(node *yaml.Node, where string, depth int) []pair {
	var own, merged []pair
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, val := target(node.Content[i]), node.Content[i+1]
		if key == nil || key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" && key.ShortTag() != "!!merge" {
			w.complain(lineNumber(key), "%s has a key that is not a string; put it in quotes", where)
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, w.merge(val, where, depth+1)...)
			continue
		}
		if seen[key.Value] {
			w.complain(key.Line, "key %q is there twice in %s; keep one", key.Value, where)
			continue
		}
		seen[key.Value] = true
		own = append(own, pair{key, val})
	}
	for _, p := range merged {
		if !seen[p.key.Value] {
			seen[p.key.Value] = true
			own = append(own, p)
		}
	}
	return own
}

// merge is what a merge key's value brings: a mapping, or several of which the first that has a key wins.
func (w *walker) merge(node *yaml.Node, where string, depth int) []pair {
	node = target(node)
	if w.visits++; node == nil || depth > maxDepth || w.visits > maxVisits {
		w.over = true
		return nil
	}
	switch node.Kind {
	case yaml.MappingNode:
		return w.pairs(node, where, depth)
	case yaml.SequenceNode:
		var all []pair
		for _, child := range node.Content {
			if child = target(child); child == nil || child.Kind != yaml.MappingNode {
				break
			}
			all = append(all, w.merge(child, where, depth+1)...)
		}
		return all
	}
	w.complain(node.Line, "\"<<\" in %s must name a mapping; write \"<<: *anchor\"", where)
	return nil
}

func target(node *yaml.Node) *yaml.Node {
	for range maxDepth {
		if node == nil || node.Kind != yaml.AliasNode {
			return node
		}
		node = node.Alias
	}
	return nil
}

func lineNumber(node *yaml.Node) int {
	if node == nil {
		return 0
	}
	return node.Line
}

// top is how messages call the whole document.
const top = "the document"

func child(where, name string) string {
	if where == top {
		return name
	}
	return where + "." + name
}

// mostKeys is how many keys a message lists.
const mostKeys = 12

func suggestion(name string, known []string) string {
	if n := nearest.To(name, known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	if len(known) > mostKeys {
		return "LinuxKit has none like it: remove it"
	}
	sort.Strings(known)
	return "known keys are " + join(known)
}
