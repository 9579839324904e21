package linuxkit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"gopkg.in/yaml.v3"
)

// Check tells everything that is wrong with the documents, which are one configuration. The error is Problems.
func Check(docs []*kilnv1.Document) error {
	if len(docs) == 0 {
		return problem("kiln", "no YAML file was given; name at least one, such as \"kiln build hello.yml\"")
	}
	document, _ := grammar()
	var problems Problems
	rules := newRules()
	for _, doc := range docs {
		root, faults := parseDocument(doc.GetName(), doc.GetYaml(), document)
		problems = append(problems, faults...)
		rules.docs = append(rules.docs, checked{file: doc.GetName(), root: root})
	}
	if len(problems) == 0 {
		problems = rules.check()
	}
	if len(problems) == 0 {
		return nil
	}
	return problems[:min(len(problems), maxProblems)]
}

// CheckLabel tells what is wrong with an image's label org.mobyproject.config.
func CheckLabel(image, label string) error {
	_, shape := grammar()
	_, problems := parseDocument("image "+image+", label org.mobyproject.config", []byte(label), shape)
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// parseDocument reads the first document of a YAML stream, as LinuxKit does, and checks its grammar.
func parseDocument(file string, source []byte, shape *shape) (root *value, problems Problems) {
	defer func() {
		if p := recover(); p != nil { // the YAML parser's: its input comes from anybody
			root, problems = nil, Problems{{File: file, Text: fmt.Sprintf("not valid YAML: %v", p)}}
		}
	}()
	var node yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(source)).Decode(&node)
	switch {
	case errors.Is(err, io.EOF), err == nil && (len(node.Content) == 0 || isNull(node.Content[0])):
		return nil, Problems{{file, 1, "the document is empty; it needs at least one section, such as kernel or init"}}
	case err != nil:
		errors.As(syntaxProblem(file, err), &problems)
		return nil, problems
	}
	w := &walker{file: file}
	w.packages(&node)
	root = w.walk(node.Content[0], shape, top, 0)
	if w.over && len(w.problems) == 0 {
		w.complain(node.Line, "aliases make this document too large; write the repeated parts out")
	}
	if len(w.problems) == 0 {
		// What the parser finds only when it makes values of the nodes.
		var any any
		if err := node.Decode(&any); err != nil {
			errors.As(syntaxProblem(file, err), &w.problems)
		}
	}
	return root, w.problems
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// packages refuses references to package directories, wherever they stand.
func (w *walker) packages(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && strings.HasPrefix(node.Value, "@pkg:") {
		w.complain(node.Line, "%s refers to a package directory, which Kiln does not resolve; write the image's full name, which \"linuxkit pkg show-tag DIR\" prints", quoteShort(node.Value))
	}
	for _, child := range node.Content {
		w.packages(child)
	}
}
