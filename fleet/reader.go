package fleet

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// maxVisits bounds what aliases can make of a small file.
const maxVisits = 5_000_000

// reader turns YAML nodes into an intent and gathers complaints. Each method reads one kind of value; where is how messages
// call the place.
type reader struct {
	opts   Options
	out    *Parsed
	places map[place]mark
	bodies map[place]mark // where the first line of a template is
	faults []Located
	file   string
	visits int

	kind        string // of the object that is read
	index       int
	objectsRead int
	uploadOf    []*kilnv1.Release // of each upload
	under       string            // the part of the object that is read, as "classes[0]."
	optionTexts []optionText
}

// take reads a value into whatever it was made for.
type take func(node *yaml.Node, where string)

func (r *reader) complain(line int, format string, args ...any) {
	if len(r.faults) < maxProblems {
		r.faults = append(r.faults, Located{File: r.file, Line: line, Text: fmt.Sprintf(format, args...)})
	}
}

// wrong complains that a value is not of its kind.
func (r *reader) wrong(node *yaml.Node, where, want, remedy string) {
	if isNull(node) {
		r.complain(node.Line, "%s is empty; give it a value or leave the key out", where)
		return
	}
	r.complain(node.Line, "%s must be %s, not %s; %s", where, want, found(node), remedy)
}

// at remembers where a field of the object stands.
func (r *reader) at(node *yaml.Node, field string) {
	p := place{r.kind, r.index, r.under + field}
	if _, ok := r.places[p]; !ok && r.kind != "" {
		r.places[p] = mark{r.file, node.Line}
	}
}

// visit follows aliases, and is nil when there are too many.
func (r *reader) visit(node *yaml.Node) *yaml.Node {
	for range 8 {
		if node == nil || node.Kind != yaml.AliasNode {
			break
		}
		node = node.Alias
	}
	if r.visits++; r.visits > maxVisits || node == nil || node.Kind == yaml.AliasNode {
		if r.visits == maxVisits+1 {
			r.complain(0, "aliases make it too large; write the repeated parts out, or give them to a group")
		}
		return nil
	}
	return node
}

// pairs calls each for a mapping's keys and values. It says whether node is a mapping.
func (r *reader) pairs(node *yaml.Node, where string, each func(key, value *yaml.Node)) bool {
	if node.Kind != yaml.MappingNode {
		r.wrong(node, where, "a mapping", "write its keys below it, indented")
		return false
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := r.visit(node.Content[i]), r.visit(node.Content[i+1])
		switch {
		case key == nil || value == nil:
			return false
		case key.ShortTag() == "!!merge":
			r.complain(key.Line, "%s has the key \"<<\", which is not followed here; give what is common to a group", where)
		case key.Kind != yaml.ScalarNode:
			r.complain(key.Line, "%s has a key that is not a text; write one", where)
		case seen[key.Value]:
			r.complain(key.Line, "the key %s is there twice in %s; keep one", quote(key.Value), where)
		default:
			seen[key.Value] = true
			each(key, value)
		}
	}
	return true
}

// object reads a mapping with known keys.
func (r *reader) object(node *yaml.Node, where string, fields map[string]take) {
	r.pairs(node, where, func(key, value *yaml.Node) {
		read, ok := fields[key.Value]
		if !ok {
			r.complain(key.Line, "unknown key %s in %s; %s", quote(key.Value), where, suggest(key.Value, slices.Sorted(maps.Keys(fields)), "leave it out"))
			return
		}
		r.at(key, key.Value)
		read(value, child(where, key.Value))
	})
}

func child(where, key string) string {
	if where == wholeFile {
		return key
	}
	return where + "." + key
}

// list reads the items of a list.
func (r *reader) list(node *yaml.Node, where string, item take) {
	if node.Kind != yaml.SequenceNode {
		r.wrong(node, where, "a list", "start each item with \"- \"")
		return
	}
	for i, one := range node.Content {
		if one = r.visit(one); one == nil {
			return
		}
		item(one, fmt.Sprintf("%s[%d]", where, i))
	}
}

// scalar is a single value as it is written: MAC addresses and versions look like numbers, and mean texts.
func (r *reader) scalar(node *yaml.Node, where string) (string, bool) {
	if node.Kind != yaml.ScalarNode || isNull(node) || node.ShortTag() == "!!binary" {
		r.wrong(node, where, "a text", "write one text")
		return "", false
	}
	return node.Value, true
}

func (r *reader) text(into *string) take {
	return func(node *yaml.Node, where string) {
		if s, ok := r.scalar(node, where); ok {
			*into = s
		}
	}
}

// texts reads a list of texts whose places are those of field.
func (r *reader) texts(into *[]string, field string, normal func(string) string) take {
	return func(node *yaml.Node, where string) {
		r.list(node, where, func(one *yaml.Node, where string) {
			if s, ok := r.scalar(one, where); ok {
				r.at(one, fmt.Sprintf("%s[%d]", field, len(*into)))
				*into = append(*into, normal(s))
			}
		})
	}
}

func asWritten(s string) string { return s }

func (r *reader) flag(into *bool) take {
	return func(node *yaml.Node, where string) {
		if node.ShortTag() != "!!bool" || node.Decode(into) != nil {
			r.wrong(node, where, "true or false", "write true or false without quotes")
		}
	}
}

func (r *reader) number(into *int32) take {
	return func(node *yaml.Node, where string) {
		n, err := strconv.ParseInt(node.Value, 10, 32)
		if err != nil || node.ShortTag() != "!!int" {
			r.wrong(node, where, "a whole number", "write one between -2147483648 and 2147483647")
			return
		}
		*into = int32(n)
	}
}

// mapping reads texts by name; with files they may be {file: PATH}, of at most limit bytes, of which a last line's end is cut.
func (r *reader) mapping(into *map[string]string, field string, files bool, limit int64) take {
	return func(node *yaml.Node, where string) {
		r.pairs(node, where, func(key, value *yaml.Node) {
			where := where + "." + key.Value
			r.at(key, field+"."+key.Value)
			var s string
			ok := false
			if files && value.Kind == yaml.MappingNode {
				name := ""
				s, name, ok = r.fromFile(value, where, limit)
				if field != "templates" {
					s = strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
				}
				r.bodies[place{r.kind, r.index, field + "." + key.Value}] = mark{name, 1}
			} else {
				s, ok = r.scalar(value, where)
				r.textAt(value, field+"."+key.Value)
			}
			if !ok {
				return
			}
			if *into == nil {
				*into = map[string]string{}
			}
			(*into)[key.Value] = s
		})
	}
}

// textAt notes where the text of a field begins: behind the indicator of a block, its lines are those of the file (YAML 1.2 §8.1).
func (r *reader) textAt(node *yaml.Node, field string) {
	line := node.Line
	if node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		line++
	}
	r.bodies[place{r.kind, r.index, field}] = mark{r.file, line}
}

// fromFile is the text of a file that is named, and the file.
func (r *reader) fromFile(node *yaml.Node, where string, limit int64) (text, name string, ok bool) {
	r.pairs(node, where, func(key, value *yaml.Node) {
		if key.Value != "file" {
			r.complain(key.Line, "unknown key %s in %s; write a text, or \"file: PATH\"", quote(key.Value), where)
			return
		}
		name, _ = r.path(value, where+".file")
	})
	if name == "" {
		return "", "", false
	}
	if r.opts.FS == nil {
		r.complain(node.Line, "%s names a file, and files are not read here; write the text itself", where)
		return "", "", false
	}
	data, err := readFile(r.opts.FS, name, limit)
	if err != nil {
		r.complain(node.Line, "%s names the file %s, which cannot be read: %s; paths are relative to the folder of %s", where, quote(name), err, quote(r.file))
		return "", "", false
	}
	return string(data), name, true
}

// path is a path in the folder: what leaves it is refused, and what links leave it for is the fs.FS's to refuse (os.Root).
func (r *reader) path(node *yaml.Node, where string) (string, bool) {
	s, ok := r.scalar(node, where)
	if !ok {
		return "", false
	}
	joined := path.Join(path.Dir(r.file), s)
	if s == "" || path.IsAbs(s) || strings.ContainsAny(s, "\\\x00") || !fs.ValidPath(joined) || joined == "." {
		r.complain(node.Line, "%s is %s, which is not a file in the folder; put the file there and write its path relative to %s", where, quote(s), quote(r.file))
		return "", false
	}
	return joined, true
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// found names what a file has. It shows no text: that may be a secret.
func found(node *yaml.Node) string {
	switch node.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	switch node.ShortTag() {
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!str":
		return "a text"
	}
	return "a value of type " + node.ShortTag()
}
