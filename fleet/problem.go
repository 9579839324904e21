package fleet

import (
	"fmt"
	"strings"
)

// Kinds of objects in problems and changes.
const (
	KindMachine = "machine"
	KindGroup   = "group"
	KindRelease = "release"
	KindSubnet  = "subnet"
	kindIntent  = "intent"
)

// maxProblems is how many faults are told at once.
const maxProblems = 100

// Problem is one fault of an intent: which object has it, what it is and what to do.
type Problem struct {
	Kind  string
	Index int    // in the intent's list of that kind
	Name  string // may be empty: that is a fault, too
	Field string // as in the YAML: "macs", "values.port"
	Text  string // one sentence

	err error // of the template that it is about: a *templates.Error, or nil
}

func (p Problem) String() string {
	switch {
	case p.Kind == kindIntent:
		return p.Text
	case p.Name == "":
		return fmt.Sprintf("%s %d: %s", p.Kind, p.Index+1, p.Text)
	}
	return fmt.Sprintf("%s %s: %s", p.Kind, bare(p.Name), p.Text)
}

// bare is a name as it is when it is one, and in quotes otherwise.
func bare(name string) string {
	if objectName(name) != nil {
		return quote(name)
	}
	return name
}

// Problems is an error with a sentence for each fault, one on a line, in the order of machines, groups, releases and subnets.
type Problems []Problem

func (p Problems) Error() string {
	return strings.Join(p.Sentences(), "\n")
}

// Sentences are the problems as others are told of them.
func (p Problems) Sentences() []string {
	out := make([]string, len(p))
	for i := range p {
		out[i] = p[i].String()
	}
	return out
}

// Err is p as an error: nil when there is none.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}
