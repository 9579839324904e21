package linuxkit

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// want names a shape in messages.
func (s *shape) want() string {
	switch s.kind {
	case text:
		return "a string"
	case boolean:
		return "true or false"
	case integer:
		return fmt.Sprintf("a whole number from %.0f to %.0f", s.low, s.high)
	case identifier:
		return "a user or group: a name or a number from 0 to 4294967295"
	case list:
		switch s.item.kind {
		case object:
			return "a list of mappings"
		case text:
			return "a list of strings"
		}
		return "a list"
	default:
		return "a mapping"
	}
}

// found names what a document has.
func found(node *yaml.Node) string {
	switch node.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	switch node.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "the boolean " + node.Value
	case "!!int", "!!float":
		return "the number " + node.Value
	case "!!binary":
		return "something that is not base64"
	case "!!str":
		return "the string " + quoteShort(node.Value)
	}
	return "a value of type " + node.ShortTag()
}

func (s *shape) remedy(node *yaml.Node, where string) string {
	key := where[strings.LastIndexByte(where, '.')+1:]
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" {
		return "give it a value or leave the key out"
	}
	switch {
	case node.ShortTag() == "!!binary":
		return "write base64, or the text itself without !!binary"
	case s.kind == text && node.Kind == yaml.ScalarNode && strings.HasSuffix(key, "]"):
		return fmt.Sprintf("put it in quotes: %q", node.Value)
	case s.kind == text && node.Kind == yaml.ScalarNode:
		return fmt.Sprintf("put it in quotes: %s: %q", key, node.Value)
	case s.kind == boolean:
		return "write true or false without quotes"
	case s.kind == integer || s.kind == identifier:
		return "write a number in that range without quotes"
	case s.kind == list && s.item.kind == text && node.Kind == yaml.ScalarNode:
		return fmt.Sprintf("write it as a list: [%q]", node.Value)
	case s.kind == list:
		return "start each item with \"- \""
	case s.kind == text:
		return "write one string"
	}
	return "write its keys below it, indented"
}

// quoteShort quotes s, cut where it would fill the line.
func quoteShort(s string) string {
	const most = 40
	if len(s) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:most], ""))
	}
	return fmt.Sprintf("%q", s)
}

// join lists words as people do: "a, b and c".
func join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
