package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/names"
	"github.com/kiln-farm/kiln/coordinator/nsupdate"
	"github.com/kiln-farm/kiln/coordinator/recheck"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/results"
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
	Cluster *Cluster     // nil: the only coordinator of its farm
	Log     *slog.Logger // slog.Default when nil
	Version string       // of the program, for Status
	// BlobURL makes a URL by which a client reads a blob from the cache; nil when there is no such way.
	BlobURL func(ctx context.Context, d cache.Digest, life time.Duration) (string, error)
	// Recheck is the second reader of a blob that somebody could not read: gone says that it is not there, now if not
	// before, since a damaged one is removed. Nil: whoever says that a blob is gone is believed.
	Recheck func(ctx context.Context, d cache.Digest) (gone bool, err error)
	// DNSKeys sign what subnets have published in DNS; nil: there are none.
	DNSKeys *nsupdate.Keys
	// Boot and Initrd are images that formats are made with when a build names none.
	Boot, Initrd string
	// ClientPatience is how long a build that is not detached goes on while nobody watches it; 30 s when 0.
	ClientPatience time.Duration
	// Leased, when set, is told of every lease how long its task was ready before it was committed. For measuring.
	Leased func(wait time.Duration)
	// Now is the wall clock, time.Now when nil. Nothing but the times that people read depends on it.
	Now func() time.Time

	dns names.Times // the usual ones when they are not set
}

// Coordinator is one of a farm's coordinators.
type Coordinator struct {
	cfg    Config
	fsm    *replica.FSM
	node   *replica.Node
	index  *results.Index  // of results; survives a change of leaders, since results never change
	second *recheck.Reader // of blobs that somebody could not read
	peers  *http.Client    // to other coordinators; nil when there are none

	stop      func()       // closes stopped, once
	closeNode func() error // once
	stopped   chan struct{}
	done      chan struct{}   // closed when the goroutine that follows leadership has ended
	again     chan chan error // asks that goroutine to lay down and take up leadership anew
	cluster   sync.WaitGroup  // goroutines that deal with the other coordinators

	mu      sync.Mutex    // guards what follows
	leader  *leader       // nil while another one leads
	changed chan struct{} // closed when leader changes
	fault   error         // why this coordinator cannot go on
	failed  chan struct{} // closed when fault is set
}

// New starts a coordinator.
func New(cfg Config) (*Coordinator, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	c := &Coordinator{
		cfg: cfg, fsm: replica.NewFSM(), index: results.NewIndex(results.IndexBytes), second: recheck.New(cfg.Recheck, cfg.Log),
		stopped: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
		again: make(chan chan error), failed: make(chan struct{}),
	}
	c.fsm.TooOld = c.fail
	c.stop = sync.OnceFunc(func() { close(c.stopped) })
	var err error
	if c.node, err = replica.Open(c.cfg.replica(), c.fsm); err != nil {
		if fault := c.Fault(); fault != nil {
			err = fault // raft says only that there is no snapshot it can restore
		}
		return nil, fmt.Errorf("start coordinator %s: %w", cfg.NodeID, err)
	}
	c.closeNode = sync.OnceValue(c.node.Close)
	go c.follow()
	if cfg.Cluster != nil {
		c.peers = cfg.Cluster.client()
		ctx, cancel := context.WithCancel(context.Background())
		c.cluster.Go(func() { c.announce(ctx) })
		c.cluster.Go(func() { c.followMembers(); cancel() })
	}
	return c, nil
}

// Failed is closed when this coordinator cannot go on; Fault says why then.
func (c *Coordinator) Failed() <-chan struct{} { return c.failed }

// Fault is why this coordinator cannot go on; nil while it can.
func (c *Coordinator) Fault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

func (c *Coordinator) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == nil {
		c.fault = err
		close(c.failed)
	}
}

// follow takes up the leader's duties when raft says so, and lays them down.
func (c *Coordinator) follow() {
	defer close(c.done)
	defer c.setLeader(nil, closeTimeout)
	var retry <-chan time.Time
	var asked chan error
	for {
		select {
		case <-c.stopped:
			return
		case leads := <-c.node.Leads:
			c.setLeader(nil, 0)
			if retry = nil; !leads {
				continue
			}
		case asked = <-c.again:
			c.setLeader(nil, 0)
		case <-retry:
		}
		l, err := c.lead()
		if asked != nil {
			asked <- err
			asked = nil
		}
		if err != nil {
			if retry = nil; c.node.State() == raft.Leader {
				c.cfg.Log.Error("leadership could not be taken up; trying again", "node", c.cfg.NodeID, "error", err)
				retry = time.After(leadRetry)
			}
			continue
		}
		retry = nil
		c.setLeader(l, 0)
	}
}

func (c *Coordinator) setLeader(next *leader, grace time.Duration) {
	c.mu.Lock()
	last := c.leader
	c.leader = next
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	if last != nil {
		last.close(grace)
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
		if err := c.Fault(); err != nil {
			return err
		}
		if l != nil {
			return nil
		}
		select {
		case <-changed:
		case <-c.failed:
		case <-c.done:
			return errors.New("the coordinator is closed")
		case <-ctx.Done():
			return fmt.Errorf("wait for a leader of farm %s: %w", c.cfg.Farm, ctx.Err())
		}
	}
}

// Close ends the coordinator and waits until it has ended. What was committed is kept, and what was made is recorded.
// A leader hands over first, so that the farm need not notice that it is gone.
func (c *Coordinator) Close() error {
	if l, _ := c.current(); l != nil && c.cfg.Cluster != nil {
		c.handOver()
	}
	c.stop()
	<-c.done
	c.second.Close()
	c.cluster.Wait()
	if c.node.Streams != nil {
		_ = c.node.Streams.Close() // raft waits for its connections
	}
	if err := c.closeNode(); err != nil {
		return fmt.Errorf("stop coordinator %s: %w", c.cfg.NodeID, err)
	}
	return nil
}

// handOver asks raft to make another coordinator the leader; with nobody to take it, the others hold an election. Raft may
// never answer when leadership is lost meanwhile (hashicorp/raft issue 696).
func (c *Coordinator) handOver() {
	done := make(chan struct{})
	go func() {
		_ = c.node.LeadershipTransfer().Error()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(handOverTimeout):
	}
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
	if c.ClientPatience == 0 {
		c.ClientPatience = clientPatience
	}
	if c.Cluster != nil {
		if c.Cluster.ElectionTimeout == 0 {
			c.Cluster.ElectionTimeout = electionTimeout
		}
		if c.Cluster.RemoveDead == 0 {
			c.Cluster.RemoveDead = removeDead
		}
		return c.Cluster.check()
	}
	return nil
}
