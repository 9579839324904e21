package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/recheck"
	"github.com/kiln-farm/kiln/coordinator/spans"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/nats-io/nats.go"
)

// Options are what the duty is made with beside its tools.
type Options struct {
	Node     string // this coordinator's id
	Bus      *nats.Conn
	Subjects bus.Subjects
	Spans    *spans.Spans
	Second   *recheck.Reader
	Leased   func(wait time.Duration) // told of every lease how long its task was ready; may be nil
}

// Kind is the duty.
func Kind(o Options) duty.Kind {
	return duty.Kind{
		Name: "dispatch", Does: "gives builders work, and takes it back from those that are gone",
		Hears:    []state.ChangeKind{state.TaskReady, state.TaskMade, state.TaskGone, state.BuildChanged, state.BuildAdmitted, state.SharesChanged},
		Reads:    []state.Part{state.Builds, state.Teams},
		Proposes: []state.CommandKind{"lease", "complete", "expire", "release", "hold"},
		New:      func(t duty.Tools) duty.Duty { return newDispatcher(t, o) },
	}
}

// Duty pairs steps with builders.
type Duty struct {
	duty.Tools
	Options
	delayed delayed
	Sched   *scheduler
	Leases  *leases
	strikes *strikes
	Waits   waits
}

func newDispatcher(t duty.Tools, o Options) *Duty {
	l := &Duty{Tools: t, Options: o, Leases: newLeases(), strikes: newStrikes()}
	l.Sched = newScheduler(l.commitLeases)
	l.Leases.ended = l.Sched.ended
	return l
}

// Begin implements duty.Duty.
func (l *Duty) Begin(m *state.Machine) {
	l.Sched.configure(m.Teams(), m.BuilderHolds())
	var ready []item
	for _, t := range m.Tasks() {
		switch t.State {
		case state.Ready:
			ready = append(ready, l.taskReady(m, t.Key)...)
		case state.Leased:
			l.Leases.grant(&kilnv1.LeaseRef{Epoch: m.Epoch(), Number: t.Lease, Task: t.Key}, t.Builder, t.Session, 0, time.Now(), stepDeadline)
			l.Sched.resume(itemOf(m, t))
		}
	}
	l.Sched.add(ready...)
}

// Changed implements duty.Duty.
func (l *Duty) Changed(m *state.Machine, changes []state.Change) {
	var ready []item
	for _, c := range changes {
		switch c.Kind {
		case state.TaskReady:
			if c.Build == "" || l.joined(m, c) {
				ready = append(ready, l.taskReady(m, c.Task)...)
			}
		case state.TaskMade:
			l.Leases.drop(c.Task)
			l.holdFaulty(l.strikes.done(c.Task, c.Builder, time.Now()))
			l.Spans.Step(c.Lease, "")
		case state.TaskGone:
			l.gone(m, c)
		case state.SharesChanged:
			l.Sched.configure(m.Teams(), m.BuilderHolds())
		case state.BuildAdmitted:
			ready = append(ready, l.admitted(m, c.Build)...)
		case state.BuildChanged:
			if b := m.Build(c.Build); b != nil && b.Ended() {
				l.Spans.EndBuild(c.Build, b.Error)
			}
		}
	}
	if len(ready) > 0 {
		l.Sched.add(ready...)
	}
}

// Run implements duty.Duty.
func (l *Duty) Run(ctx context.Context) {
	defer l.measure()()
	l.Spawn(func() { l.shine(ctx) })
	l.watchLeases(ctx)
}

// End implements duty.Duty.
func (l *Duty) End() { l.Spans.Close() }

// joined says that a build which came to wait for a ready task may begin, where those that waited before are held back.
func (l *Duty) joined(m *state.Machine, c state.Change) bool {
	b := m.Build(c.Build)
	return b != nil && !b.Ended() && m.Admitted(b) && !l.Sched.has(c.Task)
}

// taskReady is a task that became ready as the scheduler takes it; nothing when that is for later.
func (l *Duty) taskReady(m *state.Machine, task string) []item {
	t := m.Task(task)
	if t == nil || t.State != state.Ready {
		return nil
	}
	l.Leases.drop(task)
	if t.NotBefore > m.Now() {
		l.later(time.Duration(t.NotBefore-m.Now())*time.Millisecond, task)
		return nil
	}
	return l.ready(m, t)
}

// gone stops what runs for nobody.
func (l *Duty) gone(m *state.Machine, c state.Change) {
	l.strikes.forget(c.Task)
	l.Sched.remove(c.Task)
	l.Leases.drop(c.Task)
	if c.Lease == 0 {
		return
	}
	l.Spans.Step(c.Lease, "nobody waits for it any more")
	ref := &kilnv1.LeaseRef{Epoch: m.Epoch(), Number: c.Lease, Task: c.Task}
	if err := bus.Publish(l.Context(), l.Bus, l.Subjects.Stop(c.Builder), ref); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		l.Log.Warn("a builder could not be told to stop; its next heartbeat will", "builder", c.Builder, "step", c.Task, "error", err)
	}
}

// later puts a task into the queue when its time has come. State time stands still while nothing is proposed, so
// the leader's own clock says when.
func (l *Duty) later(wait time.Duration, task string) {
	done := l.delayed.add(task)
	l.Spawn(func() {
		defer done()
		timer := time.NewTimer(wait + time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.Context().Done():
			return
		}
		l.View(func(m *state.Machine) {
			if t := m.Task(task); t != nil && t.State == state.Ready {
				l.Sched.add(l.ready(m, t)...)
			}
		})
	})
}
