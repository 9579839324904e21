package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Build is a build in a list; its names are those of the JSON that scripts read.
type Build struct {
	ID        string `json:"id"`
	Team      string `json:"team"`
	Name      string `json:"name"`
	State     string `json:"state"`
	Error     string `json:"error,omitempty"`
	User      string `json:"user,omitempty"`
	Priority  int32  `json:"priority"`
	Detached  bool   `json:"detached"`
	Submitted int64  `json:"submitted_unix_ms"`
	Finished  int64  `json:"finished_unix_ms,omitempty"`
	Made      int    `json:"steps_made"` // steps that ran for it
	Hits      int    `json:"steps_hit"`  // steps whose results were there
	Steps     int    `json:"steps"`

	state kilnv1.BuildState
}

// BuildOf sums a record up.
func BuildOf(r *kilnv1.BuildRecord) Build {
	spec := r.GetSpec()
	b := Build{
		ID: spec.GetId(), Team: spec.GetTeam(), Name: spec.GetName(), State: State(r.GetState()), Error: r.GetError(),
		User: spec.GetUser(), Priority: spec.GetPriority(), Detached: spec.GetDetached(),
		Submitted: r.GetSubmittedUnixMs(), Finished: r.GetFinishedUnixMs(), Steps: len(r.GetNodes()), state: r.GetState(),
	}
	for _, n := range r.GetNodes() {
		switch {
		case n.GetHit():
			b.Hits++
		case len(n.GetOutputs()) > 0:
			b.Made++
		}
	}
	return b
}

// took is how long a build took, or takes until now.
func (b *Build) took(now time.Time) time.Duration {
	end := now
	if b.Finished > 0 {
		end = time.UnixMilli(b.Finished)
	}
	return end.Sub(time.UnixMilli(b.Submitted))
}

// Builds is a table of builds, in the order given.
func Builds(builds []Build, style Style, now time.Time) []string {
	t := table{head: []string{"BUILD", "NAME", "STATE", "AGE", "TOOK", "MADE", "HIT", "BY"}}
	for _, b := range builds {
		t.add(
			plain(b.ID), plain(b.Name), colored(stateColor(b.state), b.State),
			number(Span(now.Sub(time.UnixMilli(b.Submitted)))), number(seconds(b.took(now))),
			number(count(b.Made)), number(count(b.Hits)), plain(b.User),
		)
	}
	return t.lines(style, "")
}

// seconds is precise for what is short: "400 ms", "12.3s", "3m 02s".
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", max(d, 0).Milliseconds())
	}
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return Span(d)
}

// BuildPage is all that is known of one build.
func BuildPage(r *kilnv1.BuildRecord, style Style, now time.Time) []string {
	b, spec := BuildOf(r), r.GetSpec()
	lines := []string{style.paint(bold, printable.Line(b.Name)) + "  " + printable.Line(b.ID) + "  " + style.paint(stateColor(b.state), b.State)}
	if b.Error != "" {
		lines = append(lines, "  "+style.paint(red, printable.Line(b.Error)))
	}
	facts := table{head: make([]string, 2)}
	fact := func(name, value string) {
		if value != "" {
			facts.add(colored(faint, name), plain(value))
		}
	}
	fact("team", b.Team)
	fact("by", b.User)
	fact("submitted", time.UnixMilli(b.Submitted).Format("2006-01-02 15:04:05")+", "+Span(now.Sub(time.UnixMilli(b.Submitted)))+" ago")
	fact("took", seconds(b.took(now)))
	fact("for", strings.Join(spec.GetPlatforms(), ", ")+": "+strings.Join(spec.GetFormats(), ", "))
	if spec.GetPriority() != 0 {
		fact("priority", fmt.Sprint(spec.GetPriority()))
	}
	fact("class", spec.GetResourceClass())
	if spec.GetDetached() {
		fact("detached", "goes on when nobody watches")
	}
	if b.Steps > 0 {
		fact("steps", stepCounts(b))
	}
	lines = append(lines, facts.lines(style, "  ")[1:]...)
	lines = append(lines, steps(r, style)...)
	return append(lines, outputs(r, style)...)
}

func stepCounts(b Build) string {
	text := fmt.Sprintf("%s of %s made, %s hit", count(b.Made), count(b.Steps), count(b.Hits))
	if rest := b.Steps - b.Made - b.Hits; rest > 0 {
		text += fmt.Sprintf(", %s not done", count(rest))
	}
	return text
}

// steps lists those that ran, or have not ended. What was a hit is a number above.
func steps(r *kilnv1.BuildRecord, style Style) []string {
	t := table{head: []string{"STEP", "", "TOOK", "BUILDER"}}
	for _, n := range r.GetNodes() {
		switch {
		case n.GetHit():
		case len(n.GetOutputs()) > 0:
			t.add(plain(n.GetLabel()), colored(green, "made"), number(seconds(time.Duration(n.GetDurationUs())*time.Microsecond)), plain(n.GetBuilder()))
		default:
			t.add(plain(n.GetLabel()), colored(yellow, "not done"), number(""), plain(n.GetBuilder()))
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	return append([]string{""}, t.lines(style, "  ")...)
}

func outputs(r *kilnv1.BuildRecord, style Style) []string {
	t := table{head: []string{"OUTPUT", "FOR", "SIZE", "DIGEST"}}
	for _, o := range r.GetOutputs() {
		if o.GetSize() > 0 {
			t.add(plain(r.GetSpec().GetName()+o.GetFile()), plain(o.GetPlatform()), number(progress.Size(o.GetSize())), plain(o.GetDigest()))
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	return append([]string{""}, t.lines(style, "  ")...)
}

// Queue is a table of steps that wait, and why.
func Queue(q *kilnv1.QueueResponse, style Style) []string {
	if len(q.GetSteps()) == 0 {
		return []string{"nothing waits"}
	}
	t := table{head: []string{"WAITS", "STEP", "FOR", "TEAM", "PRIORITY", "BUILD", "WHY"}}
	for _, s := range q.GetSteps() {
		build := s.GetName() + " " + s.GetBuild()
		if more := s.GetBuilds(); more > 1 {
			build += fmt.Sprintf(" and %s more", count(more-1))
		}
		t.add(
			number(Span(time.Duration(s.GetWaitsMs())*time.Millisecond)), plain(s.GetLabel()), plain(s.GetPlatform()), plain(s.GetTeam()),
			number(fmt.Sprint(s.GetPriority())), plain(build), colored(yellow, s.GetReason()),
		)
	}
	lines := t.lines(style, "")
	if rest := int(q.GetTotal()) - len(q.GetSteps()); rest > 0 {
		lines = append(lines, fmt.Sprintf("… and %s more; --limit shows more of them", count(rest)))
	}
	return lines
}
