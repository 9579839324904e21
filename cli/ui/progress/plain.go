package progress

import (
	"bufio"
	"fmt"
	"io"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Plain writes a line for each thing that happens: for logs of CI.
type Plain struct {
	out   *bufio.Writer
	track Track
}

// NewPlain returns a Plain that writes to w.
func NewPlain(w io.Writer) *Plain { return &Plain{out: bufio.NewWriter(w)} }

// Event implements Display. Times are those of the events.
func (p *Plain) Event(event *kilnv1.BuildEvent) {
	at := time.UnixMilli(event.GetUnixMs())
	step, lines := p.track.Apply(event, at)
	if step != nil {
		p.step(step, lines, at)
	}
	if phase := p.begun(event); phase != nil && phase != step {
		p.step(phase, nil, at)
	}
	p.out.Flush()
}

// begun is the plan phase when the event began it: the event is about the phase before, which ended.
func (p *Plain) begun(event *kilnv1.BuildEvent) *Step {
	if event.GetState().GetState() == kilnv1.BuildState_BUILD_STATE_PLANNING && p.track.phases[1].State == Running {
		return &p.track.phases[1]
	}
	return nil
}

func (p *Plain) step(step *Step, lines []string, at time.Time) {
	if len(lines) > 0 {
		for _, line := range lines {
			fmt.Fprintf(p.out, "#%d %s %s\n", step.Number, Duration(at.Sub(step.Started)), line)
		}
		return
	}
	switch step.State {
	case Running:
		fmt.Fprintf(p.out, "#%d %s\n", step.Number, step.Label)
	case Waiting:
		fmt.Fprintf(p.out, "#%d AGAIN %s\n", step.Number, step.Error)
	case Hit:
		fmt.Fprintf(p.out, "#%d %s\n#%d CACHED\n", step.Number, step.Label, step.Number)
	case Done:
		fmt.Fprintf(p.out, "#%d DONE %s%s\n", step.Number, Duration(step.Took), stepSize(step))
	case Failed:
		fmt.Fprintf(p.out, "#%d ERROR %s\n", step.Number, step.Error)
	case Canceled:
		fmt.Fprintf(p.out, "#%d CANCELED %s\n", step.Number, Duration(step.Took))
	}
}

func stepSize(step *Step) string {
	if step.Bytes == 0 {
		return ""
	}
	return " " + Size(step.Bytes)
}

// Close implements Display.
func (p *Plain) Close(s *Summary) {
	for _, line := range s.Lines(&p.track) {
		fmt.Fprintln(p.out, line)
	}
	p.out.Flush()
}
