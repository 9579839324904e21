package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Options are what a leader is made with.
type Options struct {
	Node   *replica.Node
	FSM    *replica.FSM
	Store  cache.Store
	Blobs  cache.Blobs
	Now    func() time.Time // the wall clock
	Log    *slog.Logger
	Duties []duty.Kind // in the order in which they begin and hear of changes
	Anew   func()      // called when the leader must begin again
}

// Leader is what a coordinator does while it leads, and only then.
type Leader struct {
	fsm      *replica.FSM
	proposer *replica.Proposer
	verifier *replica.Verifier
	term     uint64

	ctx   context.Context // ends with leadership
	stop  context.CancelFunc
	tasks sync.WaitGroup // goroutines that Close waits for

	duties   []*assigned
	hears    map[state.ChangeKind][]*assigned
	services []*bus.Service
}

// assigned is a duty of this leader.
type assigned struct {
	kind  duty.Kind
	duty  duty.Duty
	heard []state.Change // of the entry that is being told
}

// Take takes up leadership: when it returns, the log so far is applied, and all duties are at work.
func Take(o Options) (*Leader, error) {
	if err := o.Node.Barrier(replica.ApplyTimeout).Error(); err != nil {
		return nil, err
	}
	l := &Leader{
		fsm: o.FSM, term: o.Node.CurrentTerm(), verifier: replica.NewVerifier(func() raft.Future { return o.Node.VerifyLeader() }),
		hears: map[state.ChangeKind][]*assigned{},
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	var base, steady int64
	o.FSM.View(func(m *state.Machine) { base, steady = m.Now(), m.Steady() })
	now, begun := onward(o.Now, base), time.Now()
	l.proposer = replica.NewProposer(func(data []byte, timeout time.Duration) raft.ApplyFuture { return o.Node.Apply(data, timeout) }, l.applied, now, o.Anew)
	l.proposer.Steady = func() int64 { return steady + time.Since(begun).Milliseconds() } // by the monotonic clock
	l.proposer.Level = l.Level
	for _, k := range o.Duties {
		l.assign(k, duty.Tools{Store: o.Store, Blobs: o.Blobs, Now: o.Now, Log: o.Log})
	}
	l.Spawn(func() { l.proposer.Run(l.ctx.Done()) })
	if err := l.begin(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Leader) assign(k duty.Kind, tools duty.Tools) {
	may := map[state.CommandKind]bool{}
	for _, c := range k.Proposes {
		may[c] = true
	}
	tools.Leader = &license{Leader: l, duty: k.Name, may: may}
	a := &assigned{kind: k, duty: k.New(tools)}
	l.duties = append(l.duties, a)
	for _, c := range k.Hears {
		l.hears[c] = append(l.hears[c], a)
	}
}

func (l *Leader) begin() error {
	for _, a := range l.duties {
		if f, ok := a.duty.(duty.Founder); ok {
			if err := f.Found(l.ctx); err != nil {
				return err
			}
		}
	}
	l.fsm.View(func(m *state.Machine) {
		for _, a := range l.duties {
			a.duty.Begin(m)
		}
	})
	var all error
	for _, a := range l.duties {
		if s, ok := a.duty.(duty.Listener); ok {
			services, err := s.Listen()
			l.services = append(l.services, slices.DeleteFunc(services, func(s *bus.Service) bool { return s == nil })...)
			all = errors.Join(all, err)
		}
	}
	if all != nil {
		return all
	}
	for _, a := range l.duties {
		l.Spawn(func() { a.duty.Run(l.ctx) })
	}
	return nil
}

// Close lays all duties down, and waits until that is done.
func (l *Leader) Close() {
	for _, s := range l.services {
		s.Close()
	}
	l.stop()
	l.tasks.Wait()
	for _, a := range l.duties {
		a.duty.End()
	}
}

// applied tells duties what an entry changed. It runs on the proposer's goroutine, so the state is as the entry left it.
func (l *Leader) applied(changes []state.Change) {
	for _, c := range changes {
		for _, a := range l.hears[c.Kind] {
			a.heard = append(a.heard, c)
		}
	}
	l.fsm.View(func(m *state.Machine) {
		for _, a := range l.duties {
			if len(a.heard) > 0 {
				a.duty.Changed(m, a.heard)
				clear(a.heard)
				a.heard = a.heard[:0]
			}
		}
	})
}

// View calls look with the state as it is now.
func (l *Leader) View(look func(m *state.Machine)) { l.fsm.View(look) }

// Propose commits commands together and returns the result of each.
func (l *Leader) Propose(ctx context.Context, commands ...*kilnv1.Command) ([]state.Result, error) {
	return l.proposer.Propose(ctx, commands...)
}

// Urge is Propose for those whose clients wait: it goes before everything that has not been proposed yet.
func (l *Leader) Urge(ctx context.Context, commands ...*kilnv1.Command) ([]state.Result, error) {
	return l.proposer.Urge(ctx, commands...)
}

// Send is Propose for those who do not wait. Done is called on the goroutine that commits.
func (l *Leader) Send(commands []*kilnv1.Command, done func([]state.Result, error)) {
	l.proposer.Send(commands, done)
}

// Steady is the farm's steady time in ms.
func (l *Leader) Steady() int64 { return l.proposer.Steady() }

// Level is the farm's feature level.
func (l *Leader) Level() (level uint32) {
	l.fsm.View(func(m *state.Machine) { level = m.FeatureLevel() })
	return level
}

// Term is raft's.
func (l *Leader) Term() uint64 { return l.term }

// Verify returns nil when this coordinator led at some time after the call.
func (l *Leader) Verify(ctx context.Context) error { return l.verifier.Wait(ctx) }

// Context ends with leadership.
func (l *Leader) Context() context.Context { return l.ctx }

// Spawn runs f in a goroutine that Close waits for.
func (l *Leader) Spawn(f func()) { l.tasks.Go(f) }

// Of is the leader's duty of a type; nil when it has none.
func Of[D duty.Duty](l *Leader) (none D) {
	for _, a := range l.duties {
		if d, ok := a.duty.(D); ok {
			return d
		}
	}
	return none
}

// license is a Leader that commits only what a duty declared.
type license struct {
	*Leader
	duty string
	may  map[state.CommandKind]bool
}

func (l *license) check(commands []*kilnv1.Command) error {
	for _, c := range commands {
		if kind := state.KindOf(c); !l.may[kind] {
			return fmt.Errorf("the duty %s has not declared that it proposes commands of the kind %q", l.duty, kind)
		}
	}
	return nil
}

func (l *license) Propose(ctx context.Context, commands ...*kilnv1.Command) ([]state.Result, error) {
	if err := l.check(commands); err != nil {
		return nil, err
	}
	return l.Leader.Propose(ctx, commands...)
}

func (l *license) Send(commands []*kilnv1.Command, done func([]state.Result, error)) {
	if err := l.check(commands); err != nil {
		done(nil, err)
		return
	}
	l.Leader.Send(commands, done)
}

// onward is a clock that goes on from a time of the state's: when that is ahead, since an earlier leader's clock was, it
// still goes on, as fast as time does.
func onward(wall func() time.Time, base int64) func() time.Time {
	begun := time.Now()
	return func() time.Time {
		least := time.UnixMilli(base).Add(time.Since(begun))
		if now := wall(); now.After(least) {
			return now
		}
		return least
	}
}
