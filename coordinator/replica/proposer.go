package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// ErrNotLeading: the command was perhaps not committed, because this coordinator does not lead any more.
// Builders hear of it as of no leader at all.
var ErrNotLeading = fmt.Errorf("this coordinator does not lead the farm now; try again: %w", bus.ErrNoLeader)

// Proposer turns commands into entries of the log. It has one entry under way at a time and puts all that came
// meanwhile into the next one: no timer, batches grow with the load.
type Proposer struct {
	apply    func(data []byte, timeout time.Duration) raft.ApplyFuture
	applied  func(changes []state.Change) // called in the log's order, before the callers hear
	now      func() time.Time
	Steady   func() int64  // the farm's steady time in ms
	Level    func() uint32 // that is committed
	failed   func()        // called, once, when an entry was not committed for sure
	mu       sync.Mutex    // guards what follows
	urgent   []proposal    // before the queue
	queue    []proposal
	closed   bool
	wake     chan struct{} // holds one token when queue is not empty
	finished chan struct{}
}

type proposal struct {
	commands []*kilnv1.Command
	size     int
	done     func([]state.Result, error) // on the proposer's goroutine: must not block
}

func NewProposer(apply func([]byte, time.Duration) raft.ApplyFuture, applied func([]state.Change), now func() time.Time, failed func()) *Proposer {
	return &Proposer{apply: apply, applied: applied, now: now, Steady: func() int64 { return 0 }, Level: func() uint32 { return 0 }, failed: sync.OnceFunc(failed), wake: make(chan struct{}, 1), finished: make(chan struct{})}
}

// Propose commits commands together and returns the result of each.
func (p *Proposer) Propose(ctx context.Context, commands ...*kilnv1.Command) ([]state.Result, error) {
	return p.wait(ctx, commands, false)
}

// Urge is propose for those whose clients wait: it goes before everything that has not been proposed yet.
func (p *Proposer) Urge(ctx context.Context, commands ...*kilnv1.Command) ([]state.Result, error) {
	return p.wait(ctx, commands, true)
}

func (p *Proposer) wait(ctx context.Context, commands []*kilnv1.Command, urgent bool) ([]state.Result, error) {
	type answer struct {
		results []state.Result
		err     error
	}
	got := make(chan answer, 1)
	p.put(commands, urgent, func(r []state.Result, err error) { got <- answer{r, err} })
	select {
	case a := <-got:
		return a.results, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Send is propose for those who do not wait.
func (p *Proposer) Send(commands []*kilnv1.Command, done func([]state.Result, error)) {
	p.put(commands, false, done)
}

func (p *Proposer) put(commands []*kilnv1.Command, urgent bool, done func([]state.Result, error)) {
	next := proposal{commands: commands, done: done}
	for _, c := range commands {
		next.size += proto.Size(c)
	}
	p.mu.Lock()
	closed := p.closed
	switch {
	case closed:
	case urgent:
		p.urgent = append(p.urgent, next)
	default:
		p.queue = append(p.queue, next)
	}
	p.mu.Unlock()
	if closed {
		done(nil, ErrNotLeading)
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run proposes until stop is closed.
func (p *Proposer) Run(stop <-chan struct{}) {
	defer close(p.finished)
	for {
		select {
		case <-stop:
			p.abandon()
			return
		case <-p.wake:
		}
		for batch := p.take(); len(batch) > 0; batch = p.take() {
			p.commit(batch)
		}
	}
}

// take removes the proposals of the next entry from the queue.
func (p *Proposer) take() []proposal {
	p.mu.Lock()
	defer p.mu.Unlock()
	var batch []proposal
	commands, size := 0, 0
	for _, queue := range []*[]proposal{&p.urgent, &p.queue} {
		n := 0
		for _, next := range *queue {
			if len(batch) > 0 && (commands+len(next.commands) > MaxBatch || size+next.size > maxBatchBytes) {
				break
			}
			batch = append(batch, next)
			n, commands, size = n+1, commands+len(next.commands), size+next.size
		}
		*queue = (*queue)[n:]
	}
	return batch
}

func (p *Proposer) commit(batch []proposal) {
	entry := &kilnv1.Entry{UnixMs: p.now().UnixMilli()}
	if p.Level() >= state.SteadyLevel {
		entry.SteadyMs = p.Steady()
	}
	for _, b := range batch {
		entry.Commands = append(entry.Commands, b.commands...)
		for _, c := range b.commands {
			entry.Level = max(entry.Level, state.LevelOf(c))
		}
	}
	outcome, err := p.enter(entry)
	if err == nil {
		p.applied(outcome.Changes)
	} else {
		p.failed()
	}
	results := outcome.Results
	for _, b := range batch {
		if err != nil {
			b.done(nil, err)
			continue
		}
		b.done(results[:len(b.commands)], nil)
		results = results[len(b.commands):]
	}
}

func (p *Proposer) enter(entry *kilnv1.Entry) (state.Outcome, error) {
	data, err := proto.Marshal(entry)
	if err != nil {
		return state.Outcome{}, fmt.Errorf("encode an entry of the log: %w", err)
	}
	future := p.apply(data, ApplyTimeout)
	if err := future.Error(); err != nil {
		return state.Outcome{}, fmt.Errorf("%w: %w", ErrNotLeading, err)
	}
	outcome, ok := future.Response().(state.Outcome)
	if !ok || len(outcome.Results) != len(entry.Commands) {
		return state.Outcome{}, errors.New("the log took an entry that it cannot read back")
	}
	return outcome, nil
}

func (p *Proposer) abandon() {
	p.mu.Lock()
	p.closed = true
	left := append(p.urgent, p.queue...)
	p.urgent, p.queue = nil, nil
	p.mu.Unlock()
	for _, b := range left {
		b.done(nil, ErrNotLeading)
	}
}
