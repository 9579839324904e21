package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"
)

// leader is what a coordinator does while it leads, and only then. Whatever it knows beyond the state can be
// lost: the next one begins with the state and finds there what is to be done.
type leader struct {
	cfg      *Config
	log      *slog.Logger
	node     *replica.Node
	term     uint64 // of raft
	fsm      *replica.FSM
	proposer *replica.Proposer
	sched    *scheduler
	results  *results
	feeds    *feeds
	leases   *leases
	spans    *spans
	recorder *recorder
	subjects bus.Subjects
	services []*bus.Service
	finals   finals
	pending  pending
	verify   *replica.Verifier
	rechecks rechecks
	room     roomHub
	bindings bindingHub
	names    *publisher
	watchers *watchers
	strikes  *strikes
	waits    waits
	silence  silence    // of other coordinators
	placing  sync.Mutex // held while raft's configuration changes

	ctx  context.Context // ends with leadership
	stop context.CancelFunc
	// unmeasure ends the metrics of what is there now.
	unmeasure func()
	// writing is the context of records. It outlives ctx for a while when the coordinator is closed; when another one
	// leads it does not, since a slow cache must not hold up what comes next.
	writing  context.Context
	stopSave context.CancelFunc
	tasks    sync.WaitGroup      // goroutines that stop waits for
	jobs     *semaphore.Weighted // of builds: graphs and outputs are large
}

// lead takes up leadership: the log so far is applied when it returns, and builders are listened to.
// Anew is called when the leader must begin again.
func lead(cfg *Config, node *replica.Node, machine *replica.FSM, found *index, anew func()) (*leader, error) {
	if err := node.Barrier(replica.ApplyTimeout).Error(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &leader{
		cfg: cfg, log: cfg.Log, node: node, term: node.CurrentTerm(), fsm: machine, ctx: ctx, stop: stop,
		verify:    replica.NewVerifier(func() raft.Future { return node.VerifyLeader() }),
		silence:   silence{since: map[raft.ServerID]time.Time{}},
		results:   &results{store: cfg.Store, blobs: cfg.Blobs, index: found, log: cfg.Log},
		watchers:  newWatchers(),
		strikes:   newStrikes(),
		feeds:     &feeds{feeds: map[string]*feed{}},
		leases:    newLeases(),
		spans:     newSpans(),
		subjects:  bus.For(cfg.Farm),
		unmeasure: func() {},
		jobs:      semaphore.NewWeighted(buildJobs),
		finals:    finals{byBuild: map[string]*kilnv1.Final{}},
	}
	l.writing, l.stopSave = context.WithCancel(context.Background())
	l.names = newPublisher(l)
	l.recorder = newRecorder(l.writing, cfg.Store, cfg.Log)
	l.sched = newScheduler(l.commitLeases)
	l.leases.ended = l.sched.ended
	var base, steady int64
	machine.View(func(m *state.Machine) { base, steady = m.Now(), m.Steady() })
	now, begun := onward(cfg.Now, base), time.Now()
	l.proposer = replica.NewProposer(func(data []byte, timeout time.Duration) raft.ApplyFuture { return node.Apply(data, timeout) }, l.applied, now, anew)
	l.proposer.Steady = func() int64 { return steady + time.Since(begun).Milliseconds() } // by the monotonic clock
	l.proposer.Level = func() (level uint32) {
		machine.View(func(m *state.Machine) { level = m.FeatureLevel() })
		return level
	}
	l.spawn(func() { l.proposer.Run(ctx.Done()) })
	if err := l.takeOver(); err != nil {
		l.close(0)
		return nil, err
	}
	if err := l.listen(); err != nil {
		l.close(0)
		return nil, err
	}
	l.spawn(l.shine)
	l.spawn(l.watchLeases)
	l.spawn(l.watchWatchers)
	l.spawn(l.forgetBindings)
	l.spawn(l.names.run)
	l.unmeasure = l.measure()
	if cfg.Cluster != nil {
		l.spawn(l.listenToPeers)
		l.spawn(l.tendMembers)
	}
	return l, nil
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

// takeOver starts what the state says is under way.
func (l *leader) takeOver() error {
	var epoch uint64
	l.fsm.View(func(m *state.Machine) { epoch = m.Epoch() })
	if err := l.raiseAlone(epoch == 0); err != nil {
		return err
	}
	if epoch == 0 {
		first := &kilnv1.Command{Command: &kilnv1.Command_Epoch{Epoch: &kilnv1.EpochCommand{Epoch: uint64(l.cfg.Now().UnixMilli())}}}
		if _, err := l.proposer.Propose(l.ctx, first); err != nil {
			return err
		}
	}
	l.fsm.View(func(m *state.Machine) {
		l.sched.configure(m.Teams(), m.BuilderHolds())
		var changes []state.Change
		for _, b := range m.Builds() {
			id := b.Spec.GetId()
			l.feeds.start(id).add(summaryOf(m, b)...)
			switch {
			case b.Ended():
				l.keepRecord(id)
			case b.Complete():
				changes = append(changes, state.Change{Kind: state.BuildComplete, Build: id})
			case b.Nodes[state.PlanNode].State == state.Done && !b.Attached():
				changes = append(changes, state.Change{Kind: state.PlanKnown, Build: id})
			}
		}
		for _, t := range m.Tasks() {
			switch t.State {
			case state.Fresh:
				changes = append(changes, state.Change{Kind: state.TaskNew, Task: t.Key})
			case state.Ready:
				changes = append(changes, state.Change{Kind: state.TaskReady, Task: t.Key})
			case state.Leased:
				l.leases.grant(&kilnv1.LeaseRef{Epoch: m.Epoch(), Number: t.Lease, Task: t.Key}, t.Builder, t.Session, 0, time.Now(), stepDeadline)
				l.sched.resume(itemOf(m, t))
			case state.Made:
				changes = append(changes, state.Change{Kind: state.TaskMade, Task: t.Key})
			}
		}
		l.act(m, changes)
	})
	return nil
}

// close gives leadership's duties up and waits until that is done. For a grace records are still written.
func (l *leader) close(grace time.Duration) {
	defer time.AfterFunc(grace, l.stopSave).Stop()
	defer l.stopSave()
	for _, s := range l.services {
		s.Close() // first: "no responders" tells builders to look for the next leader
	}
	l.stop()
	l.unmeasure()
	l.tasks.Wait()
	l.recorder.close()
	l.spans.close()
}

// spawn runs f in a goroutine that close waits for.
func (l *leader) spawn(f func()) {
	l.tasks.Add(1)
	go func() {
		defer l.tasks.Done()
		f()
	}()
}

// applied acts on what an entry changed. It runs on the proposer's goroutine, so the state is as the entry left it.
func (l *leader) applied(changes []state.Change) {
	l.fsm.View(func(m *state.Machine) { l.act(m, changes) })
}

func (l *leader) act(m *state.Machine, changes []state.Change) {
	var lookup []string
	var ready []item
	for _, c := range changes {
		switch c.Kind {
		case state.TaskNew:
			lookup = append(lookup, c.Task)
		case state.TaskReady:
			if t := m.Task(c.Task); t != nil && t.State == state.Ready {
				l.leases.drop(c.Task)
				if wait := time.Duration(t.NotBefore-m.Now()) * time.Millisecond; t.NotBefore > m.Now() {
					l.later(wait, c.Task)
				} else {
					ready = append(ready, l.ready(m, t)...)
				}
			}
		case state.TaskMade:
			l.leases.drop(c.Task)
			l.holdFaulty(l.strikes.done(c.Task, c.Builder, time.Now()))
			l.spans.step(c.Lease, "")
			if t := m.Task(c.Task); t != nil && t.Result != nil {
				l.keepResult(m, t)
			}
		case state.TaskGone:
			l.gone(m, c)
		case state.RoomChanged:
			l.room.changed()
			l.names.changed()
		case state.BindingChanged:
			l.bindings.tell(c.Binding)
			l.names.bound(m, c.Binding)
		case state.PublishedChanged:
			l.names.look()
		case state.SharesChanged:
			l.sched.configure(m.Teams(), m.BuilderHolds())
			l.itsTurn(m, "")
		case state.PlanKnown:
			l.job(c.Build, l.attachGraph)
		case state.BuildComplete:
			l.job(c.Build, l.gather)
		case state.BuildChanged:
			l.buildChanged(m, c.Build)
		case state.NodeRunning, state.NodeDone, state.NodeRetry, state.NodeFailed:
			if b := m.Build(c.Build); b != nil && c.Node >= state.GraphNode {
				l.feeds.start(c.Build).add(nodeEvent(changeEvent(b, c)))
			}
		}
	}
	if len(ready) > 0 {
		l.sched.add(ready...)
	}
	if len(lookup) > 0 {
		l.pending.add(lookup, func() { l.spawn(l.lookupPending) })
	}
}

// gone stops what runs for nobody.
func (l *leader) gone(m *state.Machine, c state.Change) {
	l.strikes.forget(c.Task)
	l.sched.remove(c.Task)
	l.leases.drop(c.Task)
	if c.Lease == 0 {
		return
	}
	l.spans.step(c.Lease, "nobody waits for it any more")
	ref := &kilnv1.LeaseRef{Epoch: m.Epoch(), Number: c.Lease, Task: c.Task}
	if err := bus.Publish(l.ctx, l.cfg.Bus, l.subjects.Stop(c.Builder), ref); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		l.log.Warn("a builder could not be told to stop; its next heartbeat will", "builder", c.Builder, "step", c.Task, "error", err)
	}
}

func (l *leader) buildChanged(m *state.Machine, id string) {
	b := m.Build(id)
	if b == nil {
		return
	}
	l.log.Debug("build changed", "build", id, "state", b.State.String(), "error", b.Error)
	l.feeds.start(id).add(stateEvent(b.State, b.Error, b.Outputs))
	if b.Ended() {
		l.spans.endBuild(id, b.Error)
		buildsEnded.Add(l.ctx, 1, labeled("state", enumName(b.State.String(), "BUILD_STATE_")))
		l.itsTurn(m, b.Spec.GetTeam())
		l.feeds.end(id)
		l.keepRecord(id)
	}
}

// later puts a task into the queue when its time has come. State time stands still while nothing is proposed, so
// the leader's own clock says when.
func (l *leader) later(wait time.Duration, task string) {
	l.spawn(func() {
		timer := time.NewTimer(wait + time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.ctx.Done():
			return
		}
		l.fsm.View(func(m *state.Machine) {
			if t := m.Task(task); t != nil && t.State == state.Ready {
				l.sched.add(l.ready(m, t)...)
			}
		})
	})
}

// job does some work for a build, a bounded number at a time.
func (l *leader) job(build string, work func(ctx context.Context, build string) error) {
	l.spawn(func() {
		if l.jobs.Acquire(l.ctx, 1) != nil {
			return // not leading any more
		}
		defer l.jobs.Release(1)
		err := work(l.ctx, build)
		for try := 1; errors.Is(err, errUnread) && try < unreadTries && l.ctx.Err() == nil; try++ {
			time.Sleep(unreadWait)
			err = work(l.ctx, build)
		}
		if err == nil || l.ctx.Err() != nil {
			return
		}
		l.log.Error("a build fails for a fault of the farm", "build", build, "error", err)
		fail := &kilnv1.Command{Command: &kilnv1.Command_Fail{Fail: &kilnv1.FailCommand{Build: build, Error: err.Error()}}}
		if _, err := l.proposer.Propose(l.ctx, fail); err != nil && l.ctx.Err() == nil {
			l.log.Error("a build could not be ended", "build", build, "error", err)
		}
	})
}
