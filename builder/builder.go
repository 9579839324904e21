package builder

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/bus"
	"github.com/kiln-farm/kiln/internal/seldom"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	// pollWait is how long the leader may hold a request for leases.
	pollWait = 20 * time.Second
	// pollMargin is how much longer than that the builder waits for the answer.
	pollMargin = 5 * time.Second
	// heartbeatEvery keeps leases alive, which live for 10 s at least.
	heartbeatEvery = 2 * time.Second
	// drainGrace is how long running steps may go on once the builder is to end.
	drainGrace = 30 * time.Second
	// releaseWait bounds giving leases back at the end.
	releaseWait = 2 * time.Second
	// maxPolls is how many requests for leases are under way at once.
	maxPolls   = 4
	farewell   = time.Second // for the last heartbeat
	retryFirst = 20 * time.Millisecond
	retryMost  = 2 * time.Second
)

// Fetcher brings a blob into the cache from where a source says it is, with the mirrors and the logins of a build.
type Fetcher interface {
	// Log hears what the fetch waits for.
	Fetch(ctx context.Context, source *kilnv1.Source, build *kilnv1.BuildSpec, log func(string)) error
}

// Config of a builder.
type Config struct {
	Farm    string
	ID      string // stable and unique in the farm
	Store   cache.Store
	Blobs   cache.Blobs
	Bus     *nats.Conn
	Slots   int // steps at a time
	Runners map[string]step.Runner
	Fetcher Fetcher              // nil: blobs that are not in the cache are missing
	Grace   time.Duration        // for running steps when the builder is to end; 0: 30 s
	Unpack  *kilnv1.UnpackLimits // what an image may unpack to where the lease does not say; nil: what is usual
	Room    func() error         // says why there is no room for more work; nil: there always is
	Log     *slog.Logger
	// What steps it takes beside those of its runners: resource classes that it offers, platforms whose programs it runs.
	Classes, Platforms []string
	Version            string        // of the program, for people
	StepDeadline       time.Duration // longest time for one step; 0: what the leader says
}

// Builder runs steps of one farm.
type Builder struct {
	cfg      Config
	session  string
	subjects bus.Subjects
	link     *link
	sayings  *seldom.Sayings

	mu      sync.Mutex
	running map[leaseID]*work
	free    chan struct{} // a token for each free slot
}

type leaseID struct{ epoch, number uint64 }

// work is a lease that is being worked on.
type work struct {
	ref    *kilnv1.LeaseRef
	cancel context.CancelCauseFunc
}

var (
	errStopped  = errors.New("the leader gave the lease up")
	errDraining = errors.New("the builder is to end")
)

// New makes a builder; Run starts it.
func New(cfg Config) (*Builder, error) {
	switch {
	case cfg.Blobs == nil || cfg.Bus == nil:
		return nil, errors.New("a builder needs blobs and a bus")
	case cfg.ID == "":
		return nil, errors.New("a builder needs an id")
	case cfg.Slots < 1:
		return nil, errors.New("a builder needs one slot or more")
	}
	if cfg.Farm == "" {
		cfg.Farm = "kiln"
	}
	if cfg.Grace == 0 {
		cfg.Grace = drainGrace
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	b := &Builder{cfg: cfg, session: uuid.NewString(), subjects: bus.For(cfg.Farm), link: newLink(), running: map[leaseID]*work{}, free: make(chan struct{}, cfg.Slots), sayings: seldom.New(seldom.Every, nil)}
	for range cfg.Slots {
		b.free <- struct{}{}
	}
	return b, nil
}

// Run takes and runs leases until ctx ends, then drains: it returns when no step runs any more.
func (b *Builder) Run(ctx context.Context) error {
	// Steps and their reports outlive ctx by the grace.
	steps, stopSteps := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopSteps(nil)
	stops, err := bus.Subscribe(b.cfg.Bus, b.subjects.Stop(b.cfg.ID), func(_ context.Context, ref *kilnv1.LeaseRef) { b.stop(ref) })
	if err != nil {
		return err
	}
	defer stops.Close()
	beacons, err := bus.Subscribe(b.cfg.Bus, b.subjects.Leader(), func(_ context.Context, l *kilnv1.LeaderBeacon) { b.link.beacon(l) })
	if err != nil {
		return err
	}
	defer beacons.Close()

	var beats, leases sync.WaitGroup
	beating, stopBeating := context.WithCancel(steps)
	beats.Go(func() { b.heartbeats(ctx, beating) })
	beats.Go(func() { b.watchLeader(beating) })
	b.take(ctx, steps, &leases)

	done := make(chan struct{})
	go func() { leases.Wait(); close(done) }()
	timer := time.NewTimer(b.cfg.Grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		b.giveBack(steps)
		stopSteps(errDraining)
		<-done
	}
	stopBeating()
	beats.Wait()
	b.heartbeat(steps, farewell, true) // so that the leader does not lease anything to who is gone
	return nil
}

// take asks for leases while there are free slots, until ctx ends. Several requests are under way at once, each for
// part of the slots: while one is answered and asked anew, others wait for what becomes ready.
func (b *Builder) take(ctx, steps context.Context, leases *sync.WaitGroup) {
	var polls sync.WaitGroup
	n := min(maxPolls, b.cfg.Slots)
	for range n {
		polls.Go(func() { b.poll(ctx, steps, leases, (b.cfg.Slots+n-1)/n) })
	}
	polls.Wait()
}

// poll asks again and again, for at most so many leases.
func (b *Builder) poll(ctx, steps context.Context, leases *sync.WaitGroup, most int) {
	wait := retryFirst
	for ctx.Err() == nil {
		credits := b.acquire(ctx, most)
		if credits == 0 {
			return
		}
		polling, poll, polls := b.link.begin(ctx)
		granted, pause, err := b.ask(polling, credits, poll, polls)
		again := errors.Is(context.Cause(polling), errNewLeader)
		for range credits - len(granted) {
			b.free <- struct{}{}
		}
		for _, lease := range granted {
			b.start(steps, lease, leases)
		}
		b.link.end(poll, err == nil)
		if err == nil || again {
			wait = retryFirst
		} else if ctx.Err() == nil {
			b.cfg.Log.Debug("no answer to a request for leases", "error", err)
			pause, wait = wait, min(wait*2, retryMost)
		}
		sleep(ctx, jitter(pause))
	}
}

// acquire waits for a free slot and takes up to most.
func (b *Builder) acquire(ctx context.Context, most int) int {
	select {
	case <-b.free:
	case <-ctx.Done():
		return 0
	}
	for credits := 1; ; credits++ {
		if credits == most {
			return credits
		}
		select {
		case <-b.free:
		default:
			return credits
		}
	}
}

// ask is one long poll. A grant that is on its way when ctx ends is not seen; the next heartbeat gives it back.
func (b *Builder) ask(ctx context.Context, credits int, poll uint64, polls []uint64) ([]*kilnv1.Lease, time.Duration, error) {
	if b.cfg.Room != nil {
		if err := b.cfg.Room(); err != nil {
			b.full(err)
			return nil, 0, err
		}
	}
	polling, cancel := context.WithTimeout(ctx, pollWait+pollMargin)
	defer cancel()
	req := &kilnv1.LeaseRequest{Builder: b.info(), Credits: uint32(credits), WaitMs: pollWait.Milliseconds(), Poll: poll, Polls: polls}
	var reply kilnv1.LeaseReply
	if err := bus.Request(polling, b.cfg.Bus, b.subjects.Lease(b.cfg.ID), req, &reply); err != nil {
		return nil, 0, err
	}
	if len(reply.Leases) > credits {
		reply.Leases = reply.Leases[:credits]
	}
	return reply.Leases, time.Duration(reply.RetryMs) * time.Millisecond, nil
}

// full says, once a minute, that there is no room for work.
func (b *Builder) full(err error) {
	if b.sayings.Due("full") {
		b.cfg.Log.Warn("no work is taken until there is room", "error", err)
	}
}

func (b *Builder) info() *kilnv1.BuilderInfo {
	info := &kilnv1.BuilderInfo{Id: b.cfg.ID, Session: b.session, Slots: uint32(b.cfg.Slots), Platforms: b.cfg.Platforms, Classes: b.cfg.Classes, Version: b.cfg.Version}
	for _, kind := range slices.Sorted(maps.Keys(b.cfg.Runners)) {
		info.Kinds = append(info.Kinds, &kilnv1.StepKind{Kind: kind, Version: step.Versions[kind]})
	}
	return info
}

// start runs a lease in a goroutine of its own.
func (b *Builder) start(steps context.Context, lease *kilnv1.Lease, leases *sync.WaitGroup) {
	id := leaseID{lease.GetEpoch(), lease.GetNumber()}
	ctx, cancel := context.WithCancelCause(steps)
	b.mu.Lock()
	_, twice := b.running[id]
	if !twice {
		b.running[id] = &work{ref: &kilnv1.LeaseRef{Epoch: id.epoch, Number: id.number, Task: lease.GetTask()}, cancel: cancel}
	}
	b.mu.Unlock()
	if twice { // an answer that was sent twice
		cancel(nil)
		b.free <- struct{}{}
		return
	}
	leases.Go(func() {
		defer func() {
			cancel(nil)
			b.mu.Lock()
			delete(b.running, id)
			b.mu.Unlock()
			b.free <- struct{}{}
		}()
		b.work(ctx, lease)
	})
}

// stop ends the work on a lease, if there is any.
func (b *Builder) stop(ref *kilnv1.LeaseRef) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.running[leaseID{ref.GetEpoch(), ref.GetNumber()}]; w != nil {
		w.cancel(errStopped)
	}
}

func (b *Builder) leases() []*kilnv1.LeaseRef {
	b.mu.Lock()
	defer b.mu.Unlock()
	var refs []*kilnv1.LeaseRef
	for _, w := range b.running {
		refs = append(refs, w.ref)
	}
	return refs
}

// heartbeats tells the leader what runs, and stops what it no longer wants.
func (b *Builder) heartbeats(running, ctx context.Context) {
	for {
		timer := time.NewTimer(jitter(b.link.every()))
		select {
		case <-timer.C:
		case <-b.link.beat:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
		b.heartbeat(ctx, heartbeatEvery, running.Err() != nil)
	}
}

// heartbeat is one of them.
func (b *Builder) heartbeat(ctx context.Context, wait time.Duration, draining bool) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	term, poll, polls := b.link.now() // before the leases: what comes later is not told as lost
	req := &kilnv1.HeartbeatRequest{Builder: b.info(), Leases: b.leases(), Draining: draining, Term: term, Poll: poll, Polls: polls}
	var reply kilnv1.HeartbeatReply
	if err := bus.Request(ctx, b.cfg.Bus, b.subjects.Heartbeat(b.cfg.ID), req, &reply); err != nil {
		b.cfg.Log.Debug("no answer to a heartbeat", "error", err)
		return
	}
	b.link.unknown(reply.GetUnknownPolls())
	for _, ref := range reply.GetStop() {
		b.stop(ref)
	}
}

// giveBack returns what still runs, so that others can take it at once instead of after its expiry.
func (b *Builder) giveBack(ctx context.Context) {
	refs := b.leases()
	if len(refs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releaseWait)
	defer cancel()
	var reply kilnv1.ReleaseReply
	if err := bus.Request(ctx, b.cfg.Bus, b.subjects.Release(b.cfg.ID), &kilnv1.ReleaseRequest{Builder: b.cfg.ID, Leases: refs}, &reply); err != nil {
		b.cfg.Log.Warn("leases could not be given back and will expire", "leases", len(refs), "error", err)
	}
}

// sleep waits for d, or until ctx ends and then returns false.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter spreads d by a fifth either way, so that builders do not ask in step.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d*4/5 + rand.N(d*2/5+1)
}
