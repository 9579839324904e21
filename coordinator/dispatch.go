package coordinator

import (
	"context"
	"errors"
	"time"

	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/nats-io/nats.go"
)

// dispatchOptions are what the duty is made with beside its tools.
type dispatchOptions struct {
	node     string // this coordinator's id
	bus      *nats.Conn
	subjects bus.Subjects
	spans    *spans
	second   *secondReader
	leased   func(wait time.Duration) // told of every lease how long its task was ready; may be nil
}

// dispatchKind is the duty.
func dispatchKind(o dispatchOptions) duty.Kind {
	return duty.Kind{
		Name: "dispatch", Does: "gives builders work, and takes it back from those that are gone",
		Hears:    []state.ChangeKind{state.TaskReady, state.TaskMade, state.TaskGone, state.BuildChanged, state.SharesChanged},
		Reads:    []state.Part{state.Builds, state.Teams},
		Proposes: []state.CommandKind{"lease", "complete", "expire", "release", "hold"},
		New:      func(t duty.Tools) duty.Duty { return newDispatcher(t, o) },
	}
}

// dispatcher pairs steps with builders.
type dispatcher struct {
	duty.Tools
	dispatchOptions
	sched   *scheduler
	leases  *leases
	strikes *strikes
	waits   waits
}

func newDispatcher(t duty.Tools, o dispatchOptions) *dispatcher {
	l := &dispatcher{Tools: t, dispatchOptions: o, leases: newLeases(), strikes: newStrikes()}
	l.sched = newScheduler(l.commitLeases)
	l.leases.ended = l.sched.ended
	return l
}

// Begin implements duty.Duty.
func (l *dispatcher) Begin(m *state.Machine) {
	l.sched.configure(m.Teams(), m.BuilderHolds())
	var ready []item
	for _, t := range m.Tasks() {
		switch t.State {
		case state.Ready:
			ready = append(ready, l.taskReady(m, t.Key)...)
		case state.Leased:
			l.leases.grant(&kilnv1.LeaseRef{Epoch: m.Epoch(), Number: t.Lease, Task: t.Key}, t.Builder, t.Session, 0, time.Now(), stepDeadline)
			l.sched.resume(itemOf(m, t))
		}
	}
	l.sched.add(ready...)
}

// Changed implements duty.Duty.
func (l *dispatcher) Changed(m *state.Machine, changes []state.Change) {
	var ready []item
	for _, c := range changes {
		switch c.Kind {
		case state.TaskReady:
			ready = append(ready, l.taskReady(m, c.Task)...)
		case state.TaskMade:
			l.leases.drop(c.Task)
			l.holdFaulty(l.strikes.done(c.Task, c.Builder, time.Now()))
			l.spans.step(c.Lease, "")
		case state.TaskGone:
			l.gone(m, c)
		case state.SharesChanged:
			l.sched.configure(m.Teams(), m.BuilderHolds())
			l.itsTurn(m, "")
		case state.BuildChanged:
			if b := m.Build(c.Build); b != nil && b.Ended() {
				l.spans.endBuild(c.Build, b.Error)
				l.itsTurn(m, b.Spec.GetTeam())
			}
		}
	}
	if len(ready) > 0 {
		l.sched.add(ready...)
	}
}

// Run implements duty.Duty.
func (l *dispatcher) Run(ctx context.Context) {
	defer l.measure()()
	l.Spawn(func() { l.shine(ctx) })
	l.watchLeases(ctx)
}

// End implements duty.Duty.
func (l *dispatcher) End() { l.spans.close() }

// taskReady is a task that became ready as the scheduler takes it; nothing when that is for later.
func (l *dispatcher) taskReady(m *state.Machine, task string) []item {
	t := m.Task(task)
	if t == nil || t.State != state.Ready {
		return nil
	}
	l.leases.drop(task)
	if t.NotBefore > m.Now() {
		l.later(time.Duration(t.NotBefore-m.Now())*time.Millisecond, task)
		return nil
	}
	return l.ready(m, t)
}

// gone stops what runs for nobody.
func (l *dispatcher) gone(m *state.Machine, c state.Change) {
	l.strikes.forget(c.Task)
	l.sched.remove(c.Task)
	l.leases.drop(c.Task)
	if c.Lease == 0 {
		return
	}
	l.spans.step(c.Lease, "nobody waits for it any more")
	ref := &kilnv1.LeaseRef{Epoch: m.Epoch(), Number: c.Lease, Task: c.Task}
	if err := bus.Publish(l.Context(), l.bus, l.subjects.Stop(c.Builder), ref); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		l.Log.Warn("a builder could not be told to stop; its next heartbeat will", "builder", c.Builder, "step", c.Task, "error", err)
	}
}

// later puts a task into the queue when its time has come. State time stands still while nothing is proposed, so
// the leader's own clock says when.
func (l *dispatcher) later(wait time.Duration, task string) {
	l.Spawn(func() {
		timer := time.NewTimer(wait + time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.Context().Done():
			return
		}
		l.View(func(m *state.Machine) {
			if t := m.Task(task); t != nil && t.State == state.Ready {
				l.sched.add(l.ready(m, t)...)
			}
		})
	})
}
