package progress

import (
	"fmt"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Screen is what a frame has to fit into.
type Screen struct {
	Width, Height int
	Color         bool
}

const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	cyan   = "\x1b[36m"
	faint  = "\x1b[2m"
	normal = "\x1b[0m"
)

// Frame is what a terminal shows of a build at one moment: a headline and, below it, the newest steps, running ones
// before ended ones when there is no room for all. Every line fits the screen's width.
func Frame(t *Track, screen Screen, now time.Time) []string {
	rows := max(screen.Height-2, 1) // the headline, and the line below on which the cursor rests
	steps := window(t.started, rows)
	spare := rows - len(steps) // for what steps say
	lines := []string{headline(t, screen, now)}
	for _, step := range steps {
		lines = append(lines, stepLine(step, screen, now))
		if step.State == Failed || step.State == Running {
			for _, line := range step.Logs {
				if spare == 0 {
					break
				}
				spare--
				lines = append(lines, screen.paint(faint, fit("    "+line, screen.Width)))
			}
		}
	}
	return lines[:min(len(lines), rows+1)]
}

func headline(t *Track, screen Screen, now time.Time) string {
	total, done, hit := t.Counts()
	verb := "Building"
	if t.Ended() {
		verb = "Built"
		if t.Error != "" {
			verb = "Stopped"
		}
	}
	line := "[+] " + verb
	if !t.Begun.IsZero() {
		line += " " + Duration(now.Sub(t.Begun))
	}
	if total > 0 {
		line += fmt.Sprintf(" (%d/%d)", done+hit, total)
	}
	return fit(line, screen.Width)
}

// Ended says that the build is over.
func (t *Track) Ended() bool { return t.Build >= kilnv1.BuildState_BUILD_STATE_DONE }

// window chooses at most rows of steps and keeps their order: ended ones go first, the oldest of them first.
func window(steps []*Step, rows int) []*Step {
	drop := len(steps) - rows
	if drop <= 0 {
		return steps
	}
	kept := make([]*Step, 0, rows)
	for _, step := range steps {
		if drop > 0 && step.State != Running && step.State != Failed {
			drop--
			continue
		}
		kept = append(kept, step)
	}
	return kept[:min(len(kept), rows)]
}

// stepLine is " => CACHED label      1.2 MiB  0.3s".
func stepLine(step *Step, screen Screen, now time.Time) string {
	took, color, mark := step.Took, "", ""
	switch step.State {
	case Running:
		took = now.Sub(step.Started)
	case Waiting:
		mark = "AGAIN "
	case Done:
		color = green
	case Hit:
		color, mark = cyan, "CACHED "
	case Failed:
		color, mark = red, "ERROR "
	case Canceled:
		color, mark = faint, "CANCELED "
	}
	right := fmt.Sprintf(" %7s", Duration(took))
	if step.Bytes > 0 {
		right = fmt.Sprintf(" %10s", Size(step.Bytes)) + right
	}
	left := " => " + mark + step.Label
	room := screen.Width - len(right)
	if room < 20 {
		return screen.paint(color, fit(left, screen.Width))
	}
	return screen.paint(color, fit(left, room)+right)
}

func (s Screen) paint(color, line string) string {
	if !s.Color || color == "" {
		return line
	}
	return color + line + normal
}
