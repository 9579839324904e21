package dispatch

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// scheduler pairs ready tasks with builders that ask for work. A pair is made only when both are there, so a
// task goes to whoever is free when it is its turn.
type scheduler struct {
	// commit leases tasks to the one who asks, and calls done on another goroutine with the leases that were granted.
	commit func(ask *ask, items []item, done func(granted []*kilnv1.Lease))

	mu     sync.Mutex // guards what follows, and the asks in it
	queues map[line]*heapOf
	shares *shares
	holds  map[string]*kilnv1.HoldCommand // by builder
	queued map[string]bool                // tasks in queues
	asks   []*ask                         // that wait for work, oldest first
	known  map[string]knownBuilder        // that asked lately
}

// line is where tasks of one team wait that the same builders can run.
type line struct {
	team  string
	class class
}

// ask is a builder's request for work.
type ask struct {
	info    *kilnv1.BuilderInfo
	credits int
	poll    uint64               // of the builder's session
	granted chan []*kilnv1.Lease // gets one value once the ask was taken off the list
	matched bool
}

func newScheduler(commit func(*ask, []item, func([]*kilnv1.Lease))) *scheduler {
	return &scheduler{commit: commit, queues: map[line]*heapOf{}, queued: map[string]bool{}, shares: newShares(), known: map[string]knownBuilder{}}
}

// add queues ready tasks. One that is queued already stays where it is.
func (s *scheduler) add(items ...item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range items {
		if s.queued[it.task] {
			continue
		}
		at := line{it.team, it.class}
		q := s.queues[at]
		if q == nil {
			q = &heapOf{}
			s.queues[at] = q
		}
		heap.Push(q, it)
		s.queued[it.task] = true
		s.shares.wait(it.team)
	}
	s.match()
}

// remove takes a task that is not wanted any more off the queue.
func (s *scheduler) remove(task string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.queued[task] {
		return
	}
	delete(s.queued, task)
	for c, q := range s.queues {
		if i := slices.IndexFunc(*q, func(it item) bool { return it.task == task }); i >= 0 {
			heap.Remove(q, i)
			s.shares.leave(c.team)
			if q.Len() == 0 {
				delete(s.queues, c)
			}
			return
		}
	}
}

// ask waits until there is work for a builder, up to wait. What the builder asked before and does not wait for any
// more is forgotten: it would not hear the answer.
func (s *scheduler) ask(ctx context.Context, info *kilnv1.BuilderInfo, credits int, poll uint64, polls []uint64, wait time.Duration) []*kilnv1.Lease {
	a := &ask{info: info, credits: credits, poll: poll, granted: make(chan []*kilnv1.Lease, 1)}
	s.mu.Lock()
	if poll > 0 {
		s.drop(info.GetId(), func(b *ask) bool {
			return b.info.GetSession() != info.GetSession() || b.poll < poll && !slices.Contains(polls, b.poll)
		})
	}
	s.met(info, time.Now())
	s.asks = append(s.asks, a)
	s.match()
	s.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case leases := <-a.granted:
		return leases
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	if !a.matched {
		s.asks = slices.DeleteFunc(s.asks, func(b *ask) bool { return b == a })
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	return <-a.granted // being committed: it comes, whatever becomes of it
}

// unknown returns those of a builder's polls that are not here: they were lost, or are on their way, or answered.
func (s *scheduler) unknown(builder, session string, polls []uint64) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(polls), func(poll uint64) bool {
		return slices.ContainsFunc(s.asks, func(a *ask) bool {
			return a.poll == poll && a.info.GetId() == builder && a.info.GetSession() == session
		})
	})
}

// drop forgets requests of a builder. The caller holds the lock.
func (s *scheduler) drop(builder string, which func(*ask) bool) {
	s.asks = slices.DeleteFunc(s.asks, func(b *ask) bool {
		old := b.info.GetId() == builder && which(b)
		if old {
			b.matched = true
			b.granted <- nil
		}
		return old
	})
}

// farewell forgets what a builder has asked that takes no more work.
func (s *scheduler) farewell(builder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(builder, func(*ask) bool { return true })
	delete(s.known, builder)
}

// configure sets how teams share, and which builders get no work.
func (s *scheduler) configure(teams []*kilnv1.Team, holds []*kilnv1.HoldCommand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares.configure(teams)
	s.holds = map[string]*kilnv1.HoldCommand{}
	for _, h := range holds {
		s.holds[h.GetBuilder()] = h
	}
	s.match()
}

// hold returns why a builder gets no work now; nil when it does.
func (s *scheduler) hold(builder string) *kilnv1.HoldCommand {
	h := s.holds[builder]
	if h == nil || h.GetUntil() != 0 && h.GetUntil() <= time.Now().UnixMilli() {
		return nil
	}
	return h
}

// look makes the pairs that the passing of time allows: holds end.
func (s *scheduler) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.holds) > 0 {
		s.match()
	}
}

// resume counts a task that another leader leased.
func (s *scheduler) resume(it item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares.run(it, time.Now())
}

// ended counts that tasks do not run any more.
func (s *scheduler) ended(tasks ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	full := false
	for _, task := range tasks {
		full = s.shares.end(task, time.Now()) || full
	}
	if full {
		s.match()
	}
}

// has says that a task is queued.
func (s *scheduler) has(task string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued[task]
}

// Ready is how many tasks are queued.
func (s *scheduler) Ready() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queued)
}
