package fair

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// Config of a Queue. Fields that are zero have their defaults.
type Config struct {
	Bytes       int64         // of all turns at work at once
	Least, Most int64         // bytes of one turn
	Round       time.Duration // for a turn of each client, as far as Least and Most allow
	Patience    time.Duration // after which a turn counts no more
	Turns       int           // of a client at once, while there are other clients
	Transfers   int           // at once
	PerClient   int           // transfers of a client at once
}

// Defaults. A turn is never so small that the kernel does not copy by itself, which pays off from 32 KiB on.
const (
	DefaultBytes     = 16 << 20
	DefaultLeast     = 32 << 10
	DefaultMost      = 256 << 10
	DefaultRound     = 500 * time.Millisecond
	DefaultPatience  = 250 * time.Millisecond
	DefaultTurns     = 1
	DefaultTransfers = 4096
	DefaultPerClient = 256
)

// Full is that a Queue takes no more transfers.
type Full struct {
	What      string // "client": this one has too many; "edge": all together are too many
	Transfers int    // that there are
}

func (f *Full) Error() string {
	if f.What == "client" {
		return fmt.Sprintf("this client has %d transfers under way; let some of them end first", f.Transfers)
	}
	return fmt.Sprintf("this edge has %d transfers under way, and takes no more; ask again, or ask another one", f.Transfers)
}

// Queue gives turns. It may be used by many goroutines.
type Queue struct {
	begun time.Time

	mu    sync.Mutex
	core  *core
	timer *time.Timer // for what changes by time alone; it is set while somebody waits
	due   time.Duration
}

// New makes a Queue.
func New(cfg Config) *Queue {
	fill(&cfg.Bytes, DefaultBytes)
	fill(&cfg.Least, DefaultLeast)
	fill(&cfg.Most, DefaultMost)
	fill(&cfg.Round, DefaultRound)
	fill(&cfg.Patience, DefaultPatience)
	fill(&cfg.Turns, DefaultTurns)
	fill(&cfg.Transfers, DefaultTransfers)
	fill(&cfg.PerClient, DefaultPerClient)
	return &Queue{begun: time.Now(), core: newCore(cfg)}
}

func fill[T int | int64 | time.Duration](to *T, otherwise T) {
	if *to <= 0 {
		*to = otherwise
	}
}

// Transfer is somebody's who sends. Its methods are for one goroutine.
type Transfer struct {
	queue *Queue
	turn  chan struct{} // has one when it has got its turn

	// What follows is the core's.
	client *client
	of     *flow
	flow   string // its name
	state  state
	since  time.Duration // it waits for its turn
	begun  time.Duration // of its turn
	size   int64         // bytes: what it wants to send in its turn, then what it may
	counts *list.Element // while its turn counts
	waited time.Duration
}

// Enter begins a transfer of a client; flow tells apart those who share the client's turns. The error is a *Full. Leave must be
// called.
func (q *Queue) Enter(client, flow string) (*Transfer, error) {
	t := &Transfer{queue: q, flow: flow, turn: make(chan struct{}, 1)}
	q.mu.Lock()
	defer q.mu.Unlock()
	if full := q.core.enter(t, client, q.now()); full != nil {
		return nil, full
	}
	return t, nil
}

// Turn waits for a turn in which up to want bytes are to be sent, and tells how many may be. End must be called after them.
// Waits is called, if it is not nil, when the turn does not come at once.
func (t *Transfer) Turn(ctx context.Context, want int64, waits func()) (int64, error) {
	q := t.queue
	q.mu.Lock()
	q.core.want(t, want, q.now())
	q.wake()
	q.mu.Unlock()
	select {
	case <-t.turn:
		return t.size, nil
	default:
	}
	if waits != nil {
		waits()
	}
	select {
	case <-t.turn:
		return t.size, nil
	case <-ctx.Done():
		q.mu.Lock()
		defer q.mu.Unlock()
		if t.state == queued {
			q.core.forget(t)
		} else { // it has got it in this moment
			<-t.turn
			q.core.end(t, 0, q.now())
		}
		q.wake()
		return 0, ctx.Err()
	}
}

// End ends a turn in which so many bytes were sent. When it says so, other transfers of the client wait until these bytes have
// arrived: then Landed must be called.
func (t *Transfer) End(sent int64) (lands bool) {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	lands = q.core.end(t, sent, q.now())
	q.wake()
	return lands
}

// Landed tells that what was sent has arrived, or that it is not waited for any longer.
func (t *Transfer) Landed() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.core.landed(t, q.now())
	q.wake()
}

// Waited is for how long the transfer has waited for its turns because of other clients.
func (t *Transfer) Waited() time.Duration {
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	return t.waited
}

// Leave ends a transfer.
func (t *Transfer) Leave() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.core.leave(t, q.now())
	q.wake()
}

// Counts are what a Queue has done since it was made, and what there is now.
type Counts struct {
	Turns, SlowTurns, Refused uint64
	Starved                   time.Duration // of all clients together: they wanted to send, and had no turn
	Worked                    time.Duration // of all turns that have ended
	Clients, Transfers        int           // now
	Waiting                   int           // transfers that wait for their turn now
	WaitingClients            int           // clients that wait, and have no turn
	Rate                      float64       // bytes a second, lately
}

// Counts are those of now.
func (q *Queue) Counts() Counts {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.core
	all := Counts{Turns: c.turnsGiven, SlowTurns: c.slowTurns, Refused: c.refused, Starved: c.starved, Worked: c.worked,
		Clients: len(c.clients), Transfers: c.count, Waiting: c.waiting, Rate: c.rate.perSecond}
	now := q.now()
	for _, k := range c.clients {
		if len(k.flows) == 0 || k.working > 0 {
			continue
		}
		all.WaitingClients++
		since := now
		for _, f := range k.flows {
			since = min(since, f.waiting[0].since)
		}
		all.Starved += now - max(since, k.freed)
	}
	return all
}

func (q *Queue) now() time.Duration { return time.Since(q.begun) }

// wake tells those who have got their turn, and sets the timer. It is called with mu held.
func (q *Queue) wake() {
	for i, t := range q.core.ready {
		t.turn <- struct{}{}
		q.core.ready[i] = nil
	}
	q.core.ready = q.core.ready[:0]
	at, ok := q.core.next()
	if !ok || q.timer != nil && q.due <= at {
		return // a timer that is too early does no harm
	}
	if q.timer != nil {
		q.timer.Stop()
	}
	q.due = at
	q.timer = time.AfterFunc(at-q.now(), func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.timer = nil
		q.core.pump(q.now())
		q.wake()
	})
}
