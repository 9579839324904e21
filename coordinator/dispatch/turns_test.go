package dispatch

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/spans"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// viewer is a leadership of a state that nobody changes, and counts how often it is looked at.
type viewer struct {
	duty.Leader
	m     *state.Machine
	views int
}

func (v *viewer) View(look func(*state.Machine)) {
	v.views++
	look(v.m)
}

// A team may have one build under way, and thousands wait. The end of one costs no more for that, and neither does the queue
// while the state is locked.
func TestWhatWaitsCostsNothingWhenABuildEnds(t *testing.T) {
	const n = 10_000
	m := state.New()
	apply := func(c *kilnv1.Command) state.Outcome {
		t.Helper()
		out := m.Apply(&kilnv1.Entry{Level: state.LevelOf(c), Commands: []*kilnv1.Command{c}})
		if r := out.Results[0].Refused; r != "" {
			t.Fatal(r)
		}
		return out
	}
	apply(&kilnv1.Command{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{Member: &kilnv1.Member{Id: "1", Address: "a", Level: state.Level()}}}})
	apply(&kilnv1.Command{Command: &kilnv1.Command_Level{Level: &kilnv1.LevelCommand{Level: state.Level()}}})
	apply(&kilnv1.Command{Command: &kilnv1.Command_Team{Team: &kilnv1.TeamCommand{Team: &kilnv1.Team{Name: "t", Weight: 100, MaxBuilds: 1}}}})
	v := &viewer{m: m}
	d := newDispatcher(duty.Tools{Leader: v, Log: slog.New(slog.DiscardHandler)}, Options{Spans: spans.New()})
	ids := make([]string, n)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7()).String()
		spec := &kilnv1.BuildSpec{Id: ids[i], Team: "t", Name: "n", Config: cache.SumBytes(fmt.Append(nil, i)).String(), Platforms: []string{"linux/amd64"}}
		out := apply(&kilnv1.Command{Command: &kilnv1.Command_Submit{Submit: &kilnv1.SubmitCommand{Spec: spec, ResolveParams: []byte(ids[i]), PlanParams: []byte(ids[i])}}})
		d.Changed(m, out.Changes)
	}
	if got := d.Sched.Ready(); got != 1 {
		t.Fatalf("%d builds began, want 1", got)
	}
	steps, total := d.Queue("t", 50)
	if total != n || len(steps) != 50 {
		t.Errorf("the queue tells of %d and %d, want %d and 50", total, len(steps), n)
	}
	if v.views < n/queuePage {
		t.Errorf("the state was looked at %d times: the queue is not read page by page", v.views)
	}
	least := time.Hour // the quickest: this machine has others to serve
	for i, id := range ids[:20] {
		begun := time.Now()
		out := apply(&kilnv1.Command{Command: &kilnv1.Command_Cancel{Cancel: &kilnv1.CancelCommand{Build: id}}})
		d.Changed(m, filter(out.Changes))
		least = min(least, time.Since(begun))
		if got := d.Sched.Ready(); got != 1 || !m.Admitted(m.Build(ids[i+1])) || m.Admitted(m.Build(ids[i+2])) {
			t.Fatalf("after %d ends: %d are queued, and not the next one alone", i+1, got)
		}
	}
	t.Logf("the end of a build took %s", least)
	if least > time.Millisecond {
		t.Errorf("the end of a build took %s, want at most 1ms", least)
	}
}

// filter is what the duty hears of.
func filter(changes []state.Change) (heard []state.Change) {
	for _, c := range changes {
		for _, k := range Kind(Options{}).Hears {
			if c.Kind == k {
				heard = append(heard, c)
			}
		}
	}
	return heard
}
