package dispatch

import (
	"container/heap"
	"slices"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// match makes all pairs that can be made: the task that goes first, and then the builder that suits it best.
func (s *scheduler) match() {
	given := map[*ask][]item{}
	now := time.Now()
	for {
		var best *heapOf
		var at int // of the item in best
		var to *ask
		for l, q := range s.queues {
			if !s.shares.may(l.team) {
				continue
			}
			i, a := s.first(*q, given, now)
			if a != nil && (best == nil || s.shares.before((*q)[i], (*best)[at])) {
				best, at, to = q, i, a
			}
		}
		if best == nil {
			break
		}
		it := heap.Remove(best, at).(item)
		delete(s.queued, it.task)
		if best.Len() == 0 {
			delete(s.queues, line{it.team, it.class})
		}
		s.shares.leave(it.team)
		s.shares.run(it, now)
		given[to] = append(given[to], it)
	}
	if len(given) == 0 {
		return
	}
	s.asks = slices.DeleteFunc(s.asks, func(a *ask) bool {
		items := given[a]
		if len(items) == 0 {
			return false
		}
		a.matched = true
		s.commit(a, items, func(granted []*kilnv1.Lease) { a.granted <- granted })
		return true
	})
}

// lookPast is how many tasks of a line are looked at when the first one avoids all who ask.
const lookPast = 32

// first is the task of a line that goes first among those that somebody may have, and who should get it.
func (s *scheduler) first(q heapOf, given map[*ask][]item, now time.Time) (int, *ask) {
	if a := s.suits(q[0], given, now); a != nil || len(q[0].avoid) == 0 {
		return 0, a
	}
	best, to := 0, (*ask)(nil)
	for i := 1; i < min(len(q), lookPast); i++ {
		if to != nil && !before(q[i], q[best]) {
			continue
		}
		if a := s.suits(q[i], given, now); a != nil {
			best, to = i, a
		}
	}
	return best, to
}

// suits returns who should get a task: of those that may, the one that has most of its inputs on its disk, then the
// one with most room, then the one that has waited for longest. Nil when nobody may.
func (s *scheduler) suits(it item, given map[*ask][]item, now time.Time) *ask {
	var best *ask
	var near int64
	var room int
	for _, a := range s.asks {
		free := a.credits - len(given[a])
		id := a.info.GetId()
		if free < 1 || !accepts(a.info, it.class) || s.hold(id) != nil || slices.Contains(it.avoid, id) && s.others(it, now) {
			continue
		}
		n := it.near(id)
		if best == nil || n > near || n == near && free > room {
			best, near, room = a, n, free
		}
	}
	return best
}

// others says that some builder can run a task that has not failed it yet.
func (s *scheduler) others(it item, now time.Time) bool {
	for id, k := range s.known {
		if now.Sub(k.at) < knownFor && accepts(k.info, it.class) && s.hold(id) == nil && !slices.Contains(it.avoid, id) {
			return true
		}
	}
	return false
}

// knownBuilder is a builder that asked for work.
type knownBuilder struct {
	info *kilnv1.BuilderInfo
	at   time.Time
}

// knownFor is how long a builder counts as there after it has asked for work: a busy one may not ask for as long as a
// step takes, but then it has no room either.
const knownFor = 2 * maxLeaseWait

// met notes that a builder asks for work, and forgets those that have not done so for long.
func (s *scheduler) met(info *kilnv1.BuilderInfo, now time.Time) {
	if _, here := s.known[info.GetId()]; !here {
		for id, k := range s.known {
			if now.Sub(k.at) > knownFor {
				delete(s.known, id)
			}
		}
	}
	s.known[info.GetId()] = knownBuilder{info, now}
}
