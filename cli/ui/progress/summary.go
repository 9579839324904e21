package progress

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/internal/printable"
)

// File is an output that was written.
type File struct {
	Path string
	Size int64
}

// Summary is what a command knows at the end of a build that went well.
type Summary struct {
	Name  string
	Took  time.Duration // of the whole command
	Files []File
}

// slowest is how many of the steps that took the longest a summary names.
const slowest = 3

// Lines are the summary's text; none for a nil summary, as of a build that failed.
func (s *Summary) Lines(t *Track) []string {
	if s == nil {
		return nil
	}
	lines := []string{fmt.Sprintf("%s: done in %s, %s", printable.Line(s.Name), precise(s.Took), work(t))}
	if top := longest(t); len(top) > 1 {
		var parts []string
		for _, step := range top {
			parts = append(parts, fmt.Sprintf("%s %s", step.Label, precise(step.Took)))
		}
		lines = append(lines, "  longest: "+strings.Join(parts, ", "))
	}
	for _, f := range s.Files {
		lines = append(lines, fmt.Sprintf("  %10s  %s", Size(f.Size), printable.Line(f.Path)))
	}
	return lines
}

// work says what ran and what did not have to.
func work(t *Track) string {
	total, ran, hits := t.Counts()
	switch {
	case total == 0 || ran == 0:
		return "nothing had to run"
	case hits == 0:
		return fmt.Sprintf("%s ran (%s)", plural(ran, "step"), precise(spent(t)))
	}
	return fmt.Sprintf("%s ran (%s), %d cached", plural(ran, "step"), precise(spent(t)), hits)
}

// spent is the time that steps took, one after another.
func spent(t *Track) (d time.Duration) {
	for i := range t.nodes {
		if t.nodes[i].State == Done {
			d += t.nodes[i].Took
		}
	}
	return d
}

// longest are the steps that took the longest, those of a tenth of a second and more.
func longest(t *Track) []*Step {
	var steps []*Step
	for _, step := range t.started {
		if step.State == Done && step.Took >= 100*time.Millisecond {
			steps = append(steps, step)
		}
	}
	slices.SortStableFunc(steps, func(a, b *Step) int { return cmp.Compare(b.Took, a.Took) })
	return steps[:min(len(steps), slowest)]
}

// precise is duration with milliseconds below a second.
func precise(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return Duration(d)
}
