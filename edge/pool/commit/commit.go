package commit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/internal/meter"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var (
	meters   = meter.Of("edge/pool")
	bindTime = meters.Seconds("kiln.edge.pool.bind.duration", "Time of calls that have bindings committed")
	bindSize = meters.Counter("kiln.edge.pool.bind.commands", "{command}", "Commands that were committed")
)

// How it ends when nothing is known to be committed.
var (
	ErrAway   = errors.New("the farm is away")
	errBusy   = errors.New("too many wait for the farm")
	ErrFaulty = errors.New("the farm takes no such binding")
)

const (
	maxBatch  = 500  // commands in one call; the farm takes 1000
	maxQueued = 8192 // commands that wait

	callTime   = 1200 * time.Millisecond // of one call
	callBudget = 3 * time.Second         // of all tries for a batch: a client waits for four
	callPause  = 50 * time.Millisecond
	callGap    = 4 * time.Millisecond   // from the beginning of a call to the next one's: a call costs the farm more than what is in it
	callWide   = 12 * time.Millisecond  // the same when there is most to do
	callFull   = 16                     // commands in a call after which the gap grows
	awayPause  = 500 * time.Millisecond // between tries while the farm is away
)

// waiting is a command that waits for the farm, and all who wait for it.
type waiting struct {
	command *kilnv1.BindCommand
	key     string
	done    chan struct{}
	result  *kilnv1.BindResult
	err     error
}

// binder commits what is bound to whom. Its errors say that nobody knows whether anything was.
type binder interface {
	// Bind returns a result for each command. All of them are committed then.
	Bind(ctx context.Context, commands []*kilnv1.BindCommand) ([]*kilnv1.BindResult, error)
}

// Committer has bindings committed: one call at a time, and all that come meanwhile in the next one.
type Committer struct {
	farm binder
	now  func() time.Duration
	log  *slog.Logger

	mu      sync.Mutex // guards what follows
	queue   []*waiting
	known   map[string]*waiting // queued or under way
	running bool
	away    bool
	again   time.Duration // when the farm is asked again
	calls   sync.WaitGroup
}

// New makes a Committer with a clock that goes on while the host sleeps.
func New(farm binder, now func() time.Duration, log *slog.Logger) *Committer {
	return &Committer{farm: farm, now: now, log: log, known: map[string]*waiting{}}
}

// Bind returns when the command is committed, or may not be. The same key is the same command.
func (c *Committer) Bind(ctx context.Context, key string, command *kilnv1.BindCommand) (*kilnv1.BindResult, error) {
	w, err := c.enqueue(key, command)
	if err != nil {
		return nil, err
	}
	select {
	case <-w.done:
		return w.result, w.err
	case <-ctx.Done():
		return nil, ErrAway
	}
}

func (c *Committer) enqueue(key string, command *kilnv1.BindCommand) (*waiting, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.known[key]; w != nil {
		return w, nil
	}
	switch {
	case c.away && (c.running || c.now() < c.again):
		return nil, ErrAway
	case len(c.queue) >= maxQueued:
		return nil, errBusy
	}
	w := &waiting{command: command, key: key, done: make(chan struct{})}
	c.queue, c.known[key] = append(c.queue, w), w
	if !c.running {
		c.running = true
		c.calls.Go(c.run)
	}
	return w, nil
}

// IsAway says whether the last call failed.
func (c *Committer) IsAway() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

// run makes calls until nobody waits.
func (c *Committer) run() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.running = false
			c.mu.Unlock()
			return
		}
		n := min(len(c.queue), maxBatch)
		batch := c.queue[:n:n]
		c.queue = c.queue[n:]
		away := c.away
		c.mu.Unlock()
		begun := c.now()
		c.send(batch, away)
		if rest := gap(n) - (c.now() - begun); rest > 0 {
			time.Sleep(rest)
		}
	}
}

// gap is the time from the beginning of a call with so many commands to the next one's. From some 4,000 commands a second on it grows
// to its most, since what comes meanwhile makes the next call larger: the farm's work goes by calls, and others need the time more.
func gap(commands int) time.Duration {
	return min(max(callGap, callGap*time.Duration(commands)/callFull), callWide)
}

// send has a batch committed. A farm that is away is asked once.
func (c *Committer) send(batch []*waiting, away bool) {
	begun := c.now()
	for {
		err := c.call(batch)
		switch {
		case err == nil:
			c.setAway(nil)
			c.finish(batch, nil)
			return
		case connect.CodeOf(err) == connect.CodeInvalidArgument && len(batch) == 1:
			c.log.Error("the farm takes no such binding", "client", batch[0].command.GetClient(), "address", batch[0].command.GetAddress(), "error", err)
			c.finish(batch, ErrFaulty)
			return
		case connect.CodeOf(err) == connect.CodeInvalidArgument: // one of them; the others are not to suffer
			c.send(batch[:len(batch)/2], away)
			c.send(batch[len(batch)/2:], away)
			return
		case away || c.now()-begun > callBudget-callTime || connect.CodeOf(err) == connect.CodeFailedPrecondition:
			c.setAway(err)
			c.finish(batch, ErrAway)
			return
		}
		time.Sleep(callPause)
	}
}

func (c *Committer) call(batch []*waiting) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	commands := make([]*kilnv1.BindCommand, len(batch))
	for i, w := range batch {
		commands[i] = w.command
	}
	begun := c.now()
	results, err := c.farm.Bind(ctx, commands)
	bindTime.Record(ctx, (c.now() - begun).Seconds())
	if err == nil && len(results) != len(batch) {
		err = ErrFaulty
	}
	if err != nil {
		return err
	}
	bindSize.Add(ctx, int64(len(batch)))
	for i, w := range batch {
		w.result = results[i]
	}
	return nil
}

// setAway notes how the last call ended.
func (c *Committer) setAway(err error) {
	c.mu.Lock()
	was := c.away
	c.away, c.again = err != nil, c.now()+awayPause
	c.mu.Unlock()
	switch {
	case err != nil && !was:
		c.log.Warn("the farm binds no addresses now: fixed addresses are given as before, machines keep what they have, and no new addresses are given", "error", err)
	case err == nil && was:
		c.log.Info("the farm binds addresses again")
	}
}

// finish tells all who wait. While the farm is away those behind are told, too: each would wait as long again.
func (c *Committer) finish(batch []*waiting, err error) {
	c.mu.Lock()
	if errors.Is(err, ErrAway) {
		batch = append(batch, c.queue...)
		c.queue = nil
	}
	for _, w := range batch {
		delete(c.known, w.key)
	}
	c.mu.Unlock()
	for _, w := range batch {
		w.err = err
		close(w.done)
	}
}

// Heed asks a farm that is away from time to time whether it is back, until ctx ends.
func (c *Committer) Heed(ctx context.Context) {
	ticker := time.NewTicker(awayPause)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if c.IsAway() && c.call(nil) == nil {
			c.setAway(nil)
		}
	}
}

// Wait returns when no call is under way.
func (c *Committer) Wait() { c.calls.Wait() }
