package templates

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

const (
	// MaxText bounds a template, in bytes. EC2 has 16 KiB for user data; Ignition's, with files in them, are larger.
	MaxText = 256 << 10
	// MaxOutput bounds what a template writes, in bytes.
	MaxOutput = 1 << 20
	// maxMade bounds the text that functions make on the way to it.
	maxMade = 2 << 20
	// maxSteps bounds the nodes that loops and called templates execute: about a fifth of a second of work.
	maxSteps = 200_000
	// maxDefined bounds the templates that one defines, and with that how deep they call each other.
	maxDefined = 64
	// maxNesting bounds parentheses and blocks within each other.
	maxNesting = 200
)

// name is what text/template calls the template in its messages, from which sentence takes it out.
const name = "t"

// counter is the function that loops call; templates may not.
const counter = "countSteps"

// Template is a template that compiles.
type Template struct{ parsed *template.Template }

// Error is what is wrong with a template.
type Error struct {
	Line int // 0: not known
	Text string
	err  error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Text
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Text)
}

// Unwrap gives ErrSecrets and the like.
func (e *Error) Unwrap() error { return e.err }

// Compile reads a template. Its errors are of type *Error.
func Compile(text string) (*Template, error) {
	if len(text) > MaxText {
		return nil, &Error{Text: fmt.Sprintf("it has %d bytes, more than %d; put large files into the image", len(text), MaxText)}
	}
	if strings.ContainsRune(text, 0) {
		return nil, &Error{Text: "it holds a NUL; write it in base64 and say so where it is read"}
	}
	parsed, err := template.New(name).Option("missingkey=error").Funcs(declared()).Parse(text)
	if err != nil {
		return nil, sentence(err, nil)
	}
	if n := len(parsed.Templates()); n > maxDefined {
		return nil, &Error{Text: fmt.Sprintf("it defines %d templates, more than %d; use fewer", n, maxDefined)}
	}
	if err := check(parsed); err != nil {
		return nil, err
	}
	for _, t := range parsed.Templates() {
		if t.Tree != nil && t.Root != nil {
			count(t.Root)
			prepend(t.Root)
		}
	}
	return &Template{parsed: parsed}, nil
}

// place finds the line in an error of text/template: `template: t:3:5: executing "t" at <.Values.x>: …`.
var place = regexp.MustCompile(`^template: ` + name + `:(\d+)(?::\d+)?: (?:executing (?:"(?:[^"\\]|\\.)*") )?(?s:(.*))$`)

// started finds the line where an action begins that does not end.
var started = regexp.MustCompile(`^(unclosed action) started at ` + name + `:(\d+)(?::\d+)?$`)

func sentence(err error, data *Data) *Error {
	out := &Error{Text: strings.TrimPrefix(err.Error(), "template: "), err: err}
	if m := place.FindStringSubmatch(err.Error()); m != nil {
		out.Line, _ = strconv.Atoi(m[1])
		out.Text = m[2]
	}
	if m := started.FindStringSubmatch(out.Text); m != nil { // the parser is at the end of it all by then
		out.Line, _ = strconv.Atoi(m[2])
		out.Text = m[1] + "; close it with }}"
	}
	for _, known := range []error{ErrSecrets, errTooMuch} {
		if errors.Is(err, known) {
			out.Text = known.Error()
		}
	}
	if data != nil {
		out.Text = unknownName(out.Text, data)
	}
	return out
}

// check refuses what could not be bounded at run time: templates that call themselves, and nesting that the executor would
// follow on its stack.
func check(set *template.Template) error {
	calls := map[string][]string{}
	for _, t := range set.Templates() {
		if t.Tree == nil || t.Root == nil {
			continue
		}
		w := &walker{}
		if err := w.node(t.Root, 0); err != nil {
			return err
		}
		for _, callee := range w.calls {
			if c := set.Lookup(callee); c == nil || c.Tree == nil {
				return &Error{Text: fmt.Sprintf("it calls the template %q, which it does not define; add {{define %q}}…{{end}}", callee, callee)}
			}
		}
		calls[t.Name()] = w.calls
	}
	state := map[string]int{} // 1: on the way, 2: done
	var visit func(string) error
	visit = func(n string) error {
		switch state[n] {
		case 1:
			return &Error{Text: fmt.Sprintf("the template %q calls itself; write a loop with range", n)}
		case 2:
			return nil
		}
		state[n] = 1
		for _, callee := range calls[n] {
			if err := visit(callee); err != nil {
				return err
			}
		}
		state[n] = 2
		return nil
	}
	for _, t := range set.Templates() {
		if err := visit(t.Name()); err != nil {
			return err
		}
	}
	return nil
}

// walker goes through a template's nodes.
type walker struct{ calls []string }

func (w *walker) node(n parse.Node, depth int) error {
	if depth > maxNesting {
		return &Error{Text: fmt.Sprintf("its blocks and parentheses are nested more than %d deep; write it flatter", maxNesting)}
	}
	depth++
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		return each(n.Nodes, func(c parse.Node) error { return w.node(c, depth) })
	case *parse.ActionNode:
		return w.node(n.Pipe, depth)
	case *parse.IfNode:
		return w.branch(&n.BranchNode, depth)
	case *parse.RangeNode:
		return w.branch(&n.BranchNode, depth)
	case *parse.WithNode:
		return w.branch(&n.BranchNode, depth)
	case *parse.TemplateNode:
		w.calls = append(w.calls, n.Name)
		return w.node(n.Pipe, depth)
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		return each(n.Cmds, func(c *parse.CommandNode) error { return w.node(c, depth) })
	case *parse.CommandNode:
		return each(n.Args, func(c parse.Node) error { return w.node(c, depth) })
	case *parse.ChainNode:
		return w.node(n.Node, depth)
	case *parse.IdentifierNode:
		if why, ok := withheld()[n.Ident]; ok {
			return &Error{Text: fmt.Sprintf("the function %s is not there; %s", n.Ident, why)}
		}
	}
	return nil
}

func (w *walker) branch(n *parse.BranchNode, depth int) error {
	if err := w.node(n.Pipe, depth); err != nil {
		return err
	}
	if err := w.node(n.List, depth); err != nil {
		return err
	}
	return w.node(n.ElseList, depth)
}

func each[T any](all []T, f func(T) error) error {
	for _, one := range all {
		if err := f(one); err != nil {
			return err
		}
	}
	return nil
}

// count puts the counter into the body of every loop in list.
func count(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.IfNode:
			count(n.List)
			count(n.ElseList)
		case *parse.WithNode:
			count(n.List)
			count(n.ElseList)
		case *parse.RangeNode:
			count(n.List)
			count(n.ElseList)
			prepend(n.List)
		}
	}
}

// prepend lets list count its steps each time that it is executed.
func prepend(list *parse.ListNode) {
	command := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: list.Pos, Args: []parse.Node{
		parse.NewIdentifier(counter).SetPos(list.Pos),
		&parse.NumberNode{NodeType: parse.NodeNumber, Pos: list.Pos, IsInt: true, Int64: int64(size(list)), Text: strconv.Itoa(size(list))},
	}}
	pipe := &parse.PipeNode{NodeType: parse.NodePipe, Pos: list.Pos, Cmds: []*parse.CommandNode{command}}
	action := &parse.ActionNode{NodeType: parse.NodeAction, Pos: list.Pos, Pipe: pipe}
	list.Nodes = slices.Insert(list.Nodes, 0, parse.Node(action))
}

// size is how many nodes a list has, loops in it counted once: they count themselves.
func size(n parse.Node) int {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return 0
		}
		total := 1
		for _, c := range n.Nodes {
			total += size(c)
		}
		return total
	case *parse.ActionNode:
		return 1 + size(n.Pipe)
	case *parse.IfNode:
		return 1 + size(n.Pipe) + size(n.List) + size(n.ElseList)
	case *parse.WithNode:
		return 1 + size(n.Pipe) + size(n.List) + size(n.ElseList)
	case *parse.RangeNode:
		return 1 + size(n.Pipe)
	case *parse.PipeNode:
		if n == nil {
			return 0
		}
		total := 1
		for _, c := range n.Cmds {
			for _, a := range c.Args {
				total += 1 + size(a)
			}
		}
		return total
	}
	return 1
}
