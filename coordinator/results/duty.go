package results

import (
	"context"
	"errors"
	"time"

	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/feed"
	"github.com/kiln-farm/kiln/coordinator/recheck"
	"github.com/kiln-farm/kiln/coordinator/spans"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/retry"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"golang.org/x/sync/semaphore"
)

// unread is how often a blob that is there is read.
var unread = retry.Policy{First: time.Second, Tries: 10}

// Options are what the duty is made with beside its tools.
type Options struct {
	Index  *Index // of results; survives a change of leaders, since results never change
	Feeds  *feed.Feeds
	Spans  *spans.Spans
	Second *recheck.Reader
	// writing is the context of records. It outlives leadership for a while when the coordinator is closed; when another one
	// leads it does not, since a slow cache must not hold up what comes next.
	Writing context.Context
}

// Kind is the duty.
func Kind(o Options) duty.Kind {
	return duty.Kind{
		Name: "results", Does: "looks up what was made before, loads graphs, gathers outputs, writes records",
		Hears:    []state.ChangeKind{state.TaskNew, state.TaskMade, state.PlanKnown, state.BuildComplete, state.BuildChanged},
		Reads:    []state.Part{state.Builds},
		Proposes: []state.CommandKind{"looked", "attach", "finish", "fail", "lost", "forget"},
		New:      func(t duty.Tools) duty.Duty { return newResults(t, o) },
	}
}

// Duty finds what steps made, before they run and after.
type Duty struct {
	duty.Tools
	duty.Passive
	Options
	found    *results
	recorder *recorder
	Finals   finals
	pending  pending
	jobs     *semaphore.Weighted // of builds: graphs and outputs are large
}

func newResults(t duty.Tools, o Options) *Duty {
	return &Duty{
		Tools: t, Options: o,
		found:    &results{store: t.Store, blobs: t.Blobs, index: o.Index, log: t.Log},
		recorder: newRecorder(o.Writing, t.Store, t.Log),
		Finals:   finals{byBuild: map[string]*kilnv1.Final{}},
		jobs:     semaphore.NewWeighted(buildJobs),
	}
}

// Begin implements duty.Duty.
func (l *Duty) Begin(m *state.Machine) {
	for _, b := range m.Builds() {
		id := b.Spec.GetId()
		switch {
		case b.Ended():
			l.keepRecord(id)
		case b.Complete():
			l.job(id, l.gather)
		case b.Nodes[state.PlanNode].State == state.Done && !b.Attached():
			l.job(id, l.attachGraph)
		}
	}
	var fresh []string
	for _, t := range m.Tasks() {
		switch t.State {
		case state.Fresh:
			fresh = append(fresh, t.Key)
		case state.Made:
			l.keepResult(t)
		}
	}
	l.lookUp(fresh)
}

// Changed implements duty.Duty.
func (l *Duty) Changed(m *state.Machine, changes []state.Change) {
	var fresh []string
	for _, c := range changes {
		switch c.Kind {
		case state.TaskNew:
			fresh = append(fresh, c.Task)
		case state.TaskMade:
			if t := m.Task(c.Task); t != nil && t.Result != nil {
				l.keepResult(t)
			}
		case state.PlanKnown:
			l.job(c.Build, l.attachGraph)
		case state.BuildComplete:
			l.job(c.Build, l.gather)
		case state.BuildChanged:
			if b := m.Build(c.Build); b != nil && b.Ended() {
				l.keepRecord(c.Build)
			}
		}
	}
	l.lookUp(fresh)
}

// End implements duty.Duty.
func (l *Duty) End() { l.recorder.close() }

func (l *Duty) lookUp(tasks []string) {
	if len(tasks) > 0 {
		l.pending.add(tasks, func() { l.Spawn(l.lookupPending) })
	}
}

// job does some work for a build, a bounded number at a time.
func (l *Duty) job(build string, work func(ctx context.Context, build string) error) {
	l.Spawn(func() {
		if l.jobs.Acquire(l.Context(), 1) != nil {
			return // not leading any more
		}
		defer l.jobs.Release(1)
		err := unread.Do(l.Context(), func(ctx context.Context) error {
			err := work(ctx, build)
			if !errors.Is(err, errUnread) {
				return retry.Permanent(err)
			}
			return err
		}, nil)
		if err == nil || l.Context().Err() != nil {
			return
		}
		l.Log.Error("a build fails for a fault of the farm", "build", build, "error", err)
		fail := &kilnv1.Command{Command: &kilnv1.Command_Fail{Fail: &kilnv1.FailCommand{Build: build, Error: err.Error()}}}
		if _, err := l.Propose(l.Context(), fail); err != nil && l.Context().Err() == nil {
			l.Log.Error("a build could not be ended", "build", build, "error", err)
		}
	})
}
