package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/nats-io/nats.go"
)

// Config of a coordinator.
type Config struct {
	Farm    string       // name of the farm; "kiln" when empty
	NodeID  string       // of this coordinator, stable over restarts; "1" when empty
	Store   cache.Store  // for records
	Blobs   cache.Blobs  // for blobs
	Bus     *nats.Conn   // stays the caller's to close, after Close
	DataDir string       // of the raft log; empty: everything is in memory
	Log     *slog.Logger // slog.Default when nil
	Version string       // of the program, for Status
	// Leased, when set, is told of every lease how long its task was ready before it was committed. For measuring.
	Leased func(wait time.Duration)
	// Now is the wall clock, time.Now when nil. Nothing but the times that people read depends on it.
	Now func() time.Time
}

// Coordinator is one of a farm's coordinators.
type Coordinator struct {
	cfg   Config
	fsm   *fsm
	node  *node
	index *index // of results; survives a change of leaders, since results never change

	stop      func()       // closes stopped, once
	closeNode func() error // once
	stopped   chan struct{}
	done      chan struct{} // closed when the goroutine that follows leadership has ended

	mu      sync.Mutex    // guards what follows
	leader  *leader       // nil while another one leads
	changed chan struct{} // closed when leader changes
}

// New starts a coordinator.
func New(cfg Config) (*Coordinator, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	c := &Coordinator{
		cfg: cfg, fsm: newFSM(), index: newIndex(indexBytes),
		stopped: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
	}
	c.stop = sync.OnceFunc(func() { close(c.stopped) })
	var err error
	if c.node, err = openNode(&c.cfg, c.fsm); err != nil {
		return nil, fmt.Errorf("start coordinator %s: %w", cfg.NodeID, err)
	}
	c.closeNode = sync.OnceValue(c.node.Close)
	go c.follow()
	return c, nil
}

// follow takes up the leader's duties when raft says so, and lays them down.
func (c *Coordinator) follow() {
	defer close(c.done)
	defer c.setLeader(nil)
	var retry <-chan time.Time
	for {
		select {
		case <-c.stopped:
			return
		case leads := <-c.node.leads:
			c.setLeader(nil)
			if retry = nil; !leads {
				continue
			}
		case <-retry:
		}
		l, err := lead(&c.cfg, c.node, c.fsm, c.index)
		if err != nil {
			c.cfg.Log.Error("leadership could not be taken up; trying again", "node", c.cfg.NodeID, "error", err)
			retry = time.After(leadRetry)
			continue
		}
		retry = nil
		c.setLeader(l)
	}
}

func (c *Coordinator) setLeader(next *leader) {
	c.mu.Lock()
	last := c.leader
	c.leader = next
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	if last != nil {
		last.close()
	}
}

// current returns the leader's part of this coordinator, nil when it does not lead, and what is closed when that changes.
func (c *Coordinator) current() (*leader, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader, c.changed
}

// Ready waits until there is a leader that takes work.
func (c *Coordinator) Ready(ctx context.Context) error {
	for {
		l, changed := c.current()
		if l != nil {
			return nil
		}
		select {
		case <-changed:
		case <-c.done:
			return errors.New("the coordinator is closed")
		case <-ctx.Done():
			return fmt.Errorf("wait for a leader of farm %s: %w", c.cfg.Farm, ctx.Err())
		}
	}
}

// Close ends the coordinator and waits until it has ended. What was committed is kept, and what was made is recorded.
func (c *Coordinator) Close() error {
	c.stop()
	<-c.done
	if err := c.closeNode(); err != nil {
		return fmt.Errorf("stop coordinator %s: %w", c.cfg.NodeID, err)
	}
	return nil
}

func (c *Config) fill() error {
	if c.Store == nil || c.Blobs == nil || c.Bus == nil {
		return errors.New("a coordinator needs a store, blobs and a bus")
	}
	if c.Farm == "" {
		c.Farm = "kiln"
	}
	if c.NodeID == "" {
		c.NodeID = "1"
	}
	if strings.ContainsAny(c.NodeID, "/ \t\n") {
		return fmt.Errorf("node id %q: blanks and slashes are not allowed", c.NodeID)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}
