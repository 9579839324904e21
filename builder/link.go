package builder

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	// leaderSilence is how long no leader may be heard before the builder looks for one through another server.
	leaderSilence = 3 * time.Second
	// reconnectEvery is how often it does so.
	reconnectEvery = 5 * time.Second
	// freshFor is how long a leader is new, and freshBeat how often heartbeats go out meanwhile.
	freshFor  = 3 * time.Second
	freshBeat = 250 * time.Millisecond
)

// errNewLeader ends a poll whose answer nobody gives any more.
var errNewLeader = errors.New("another leader was heard of")

// link is what a builder knows of its way to the leader.
type link struct {
	mu    sync.Mutex // guards what follows
	term  uint64     // of the leader heard last
	heard time.Time  // when
	next  uint64     // number of the next poll
	polls map[uint64]context.CancelCauseFunc
	lost  map[uint64]bool // polls that the leader did not know at the last heartbeat
	fresh time.Time       // since when this leader is heard
	beat  chan struct{}   // holds a token when a heartbeat should not wait
}

func newLink() *link {
	return &link{next: 1, polls: map[uint64]context.CancelCauseFunc{}, heard: time.Now(), beat: make(chan struct{}, 1)}
}

// beacon hears a leader. What was asked another one before is given up.
func (l *link) beacon(b *kilnv1.LeaderBeacon) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A leader that was cut off may shine a moment longer than the next one begins.
	if b.GetTerm() < l.term && time.Since(l.heard) < leaderSilence {
		return
	}
	l.heard = time.Now()
	if l.term == b.GetTerm() {
		return
	}
	first := l.term == 0
	l.fresh = l.heard
	l.term = b.GetTerm()
	if !first {
		for _, cancel := range l.polls {
			cancel(errNewLeader)
		}
	}
	l.hurry()
}

// begin starts a poll, and says which are under way.
func (l *link) begin(ctx context.Context) (polling context.Context, poll uint64, polls []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	polling, cancel := context.WithCancelCause(ctx)
	poll = l.next
	l.next++
	l.polls[poll] = cancel
	return polling, poll, slices.Collect(maps.Keys(l.polls))
}

// end says that a poll is over and that all it brought is taken up. When it brought no answer, the leader should hear
// of that soon: it may have granted something.
func (l *link) end(poll uint64, answered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.polls[poll](nil)
	delete(l.polls, poll)
	if !answered {
		l.hurry()
	}
}

// unknown hears which polls the leader does not have. One that it does not have twice in a row was lost on its way:
// servers of the bus may believe for a moment that somebody listens who is gone.
func (l *link) unknown(polls []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := map[uint64]bool{}
	for _, poll := range polls {
		if cancel := l.polls[poll]; cancel != nil && l.lost[poll] {
			cancel(errNewLeader)
		} else {
			lost[poll] = true
		}
	}
	l.lost = lost
}

// every is how often a heartbeat goes out: often while a leader is new, since much may have been lost.
func (l *link) every() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.fresh) < freshFor {
		return freshBeat
	}
	return heartbeatEvery
}

// hurry makes the next heartbeat go out at once. The caller holds the lock.
func (l *link) hurry() {
	select {
	case l.beat <- struct{}{}:
	default:
	}
}

// now returns what a heartbeat tells. Whoever asks looks at the leases afterwards.
func (l *link) now() (term, next uint64, polls []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term, l.next, slices.Collect(maps.Keys(l.polls))
}

// silent is how long no leader was heard.
func (l *link) silent() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.heard)
}

// watchLeader leaves a server of the bus through which no leader is heard: it may be cut off from the others.
func (b *Builder) watchLeader(ctx context.Context) {
	for sleep(ctx, jitter(leaderSilence/3)) {
		if b.link.silent() < leaderSilence {
			continue
		}
		if err := b.cfg.Bus.ForceReconnect(); err == nil {
			b.cfg.Log.Info("no leader was heard for a while; looking for one through another server", "silent", b.link.silent().Round(time.Second))
		}
		sleep(ctx, jitter(reconnectEvery))
	}
}
