package linuxkit

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Problem is one fault of a document: where it is, what it is and what to do.
type Problem struct {
	File string
	Line int // 0 when it is the whole file's
	Text string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems is an error with a sentence for each fault, one on a line, in the order of the documents.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes errors.Is(err, ErrInput) true.
func (p Problems) Unwrap() error { return ErrInput }

func problem(file, text string) error { return Problems{{File: file, Text: text}} }

func problemAt(file string, line int, text string) error {
	return Problems{{File: file, Line: line, Text: text}}
}

// maxProblems is how many faults are told at once: more than that is a file of another kind.
const maxProblems = 20

// yamlLine finds the line in an error of yaml.v3: "yaml: line 3: did not find expected key".
var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\n +)?line (\d+): (.*)`)

// syntaxProblem turns an error of yaml.v3 into one of ours.
func syntaxProblem(file string, err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	line := 0
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	text = strings.TrimPrefix(text, "yaml: ")
	return problemAt(file, line, "not valid YAML: "+text)
}

// lineOf is the line of key in a mapping, or of the mapping itself.
func lineOf(node *yaml.Node, key string) int {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i].Line
		}
	}
	return node.Line
}
