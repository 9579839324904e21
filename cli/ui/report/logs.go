package report

import (
	"hash/fnv"
	"strings"

	"github.com/kiln-farm/kiln/internal/printable"
)

// Logs puts the label of the step that said it before each line.
type Logs struct {
	Style Style
	Step  string // only steps whose label has this in it; empty: all
	Bare  bool   // no labels
}

// Wants says that the step with that label is to be shown. A label that is exactly what was asked for is the only one.
func (l *Logs) Wants(label string, all []string) bool {
	if l.Step == "" || label == l.Step {
		return true
	}
	for _, other := range all {
		if other == l.Step {
			return false
		}
	}
	return strings.Contains(label, l.Step)
}

// labelColors make it easy to see which lines are of one step; red is for faults.
var labelColors = [...]string{"\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[96m", "\x1b[93m", "\x1b[92m", "\x1b[95m", "\x1b[94m"}

// Line is a line that a step said.
func (l *Logs) Line(label, text string) string {
	if l.Bare {
		return printable.Line(text)
	}
	hash := fnv.New32a()
	hash.Write([]byte(label))
	color := labelColors[hash.Sum32()%uint32(len(labelColors))]
	return strings.TrimRight(l.Style.paint(color, printable.Line(label))+" | "+printable.Line(text), " ")
}

// Note is a line about a step that it did not say itself.
func (l *Logs) Note(label, text string) string {
	return l.Line(label, "") + " " + l.Style.paint(faint, printable.Line(text))
}
