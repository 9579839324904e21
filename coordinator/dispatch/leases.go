package dispatch

import (
	"slices"
	"sync"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// leases are the leader's own timers of the leases in the state. A new leader gives all of them a fresh time to live.
type leases struct {
	mu     sync.Mutex // guards what follows
	byTask map[string]*lease
	seen   map[string]*worker    // builders that were heard of
	ended  func(tasks ...string) // told of each lease that ends
}

// worker is what a builder said of itself.
type worker struct {
	at       time.Time
	info     *kilnv1.BuilderInfo
	draining bool
	done     uint64
	failed   uint64
}

type lease struct {
	ref      *kilnv1.LeaseRef
	builder  string
	session  string
	poll     uint64 // the request that it was granted to; 0: another leader's grant
	known    bool   // its builder said that it works on it
	granted  time.Time
	expires  time.Time
	deadline time.Time
}

func newLeases() *leases {
	return &leases{byTask: map[string]*lease{}, seen: map[string]*worker{}, ended: func(...string) {}}
}

func (l *leases) grant(ref *kilnv1.LeaseRef, builder, session string, poll uint64, now time.Time, longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byTask[ref.GetTask()] = &lease{
		ref: ref, builder: builder, session: session, poll: poll, granted: now,
		expires: now.Add(LeaseTTL + LeaseGrace), deadline: now.Add(longest),
	}
}

// drop forgets the lease of a task, if it has one.
func (l *leases) drop(task string) {
	l.mu.Lock()
	have := l.byTask[task]
	delete(l.byTask, task)
	l.mu.Unlock()
	if have != nil {
		l.ended(task)
	}
}

// end forgets one lease, and leaves a later one of the same task alone.
func (l *leases) end(task string, number uint64) {
	l.mu.Lock()
	have := l.byTask[task]
	mine := have != nil && have.ref.GetNumber() == number
	if mine {
		delete(l.byTask, task)
	}
	l.mu.Unlock()
	if mine {
		l.ended(task)
	}
}

// heard notes that a builder is there.
func (l *leases) heard(info *kilnv1.BuilderInfo, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(info, now)
}

func (l *leases) note(info *kilnv1.BuilderInfo, now time.Time) *worker {
	w := l.seen[info.GetId()]
	if w == nil {
		w = &worker{}
		l.seen[info.GetId()] = w
	}
	w.at, w.info = now, info
	return w
}

// completed counts what came of a builder's step.
func (l *leases) completed(builder string, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch w := l.seen[builder]; {
	case w == nil:
	case done:
		w.done++
	default:
		w.failed++
	}
}

// beat renews the leases that a builder says it works on. Unknown are those that it should stop; lost are those
// that it holds and does not know of, since the answer that carried them was lost. Term is this leader's.
func (l *leases) beat(req *kilnv1.HeartbeatRequest, term uint64, now time.Time) (unknown, lost []*kilnv1.LeaseRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	builder, session := req.GetBuilder().GetId(), req.GetBuilder().GetSession()
	l.note(req.GetBuilder(), now).draining = req.GetDraining()
	works := make(map[string]bool, len(req.GetLeases()))
	for _, ref := range req.GetLeases() {
		have := l.byTask[ref.GetTask()]
		if have == nil || have.ref.GetNumber() != ref.GetNumber() || have.ref.GetEpoch() != ref.GetEpoch() {
			unknown = append(unknown, ref)
			continue
		}
		works[ref.GetTask()] = true
		have.known = true
		have.expires = now.Add(LeaseTTL + LeaseGrace)
	}
	for task, have := range l.byTask {
		// A builder takes up what an answer brings before it asks again, and gives up what it asked a leader when it
		// hears of the next one.
		passed := req.GetTerm() == term && have.poll < req.GetPoll() && !slices.Contains(req.GetPolls(), have.poll)
		if have.builder == builder && !works[task] && (have.session != session || passed || now.Sub(have.granted) > leaseLostWait) {
			lost = append(lost, have.ref)
		}
	}
	return unknown, lost
}

// overdue returns the leases whose builder was not heard of for too long, or that took too long, and why.
func (l *leases) overdue(now time.Time) map[*kilnv1.LeaseRef]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var late map[*kilnv1.LeaseRef]string
	for _, have := range l.byTask {
		reason := ""
		switch {
		case now.After(have.expires):
			reason = "builder " + have.builder + " was not heard of any more"
		case !have.known && now.Sub(have.granted) > leaseLostWait && l.silent(have.builder, now) > leaseLostWait:
			reason = "builder " + have.builder + " was gone before it could begin"
		case now.After(have.deadline):
			reason = "it took longer than " + have.deadline.Sub(have.granted).String() + " on builder " + have.builder
		default:
			continue
		}
		if late == nil {
			late = map[*kilnv1.LeaseRef]string{}
		}
		late[have.ref] = reason
	}
	for builder, w := range l.seen {
		if now.Sub(w.at) > LeaseTTL+LeaseGrace+maxLeaseWait {
			delete(l.seen, builder)
		}
	}
	return late
}

// Hears says that a builder of that name was heard of lately.
func (l *leases) Hears(builder string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.seen[builder]
	return w != nil && time.Since(w.at) < LeaseTTL+LeaseGrace
}

// silent is how long a builder was not heard of. The caller holds the lock.
func (l *leases) silent(builder string, now time.Time) time.Duration {
	w := l.seen[builder]
	if w == nil {
		return 0 // a new leader has not heard of anyone yet
	}
	return now.Sub(w.at)
}

// Count is how many leases there are, and which builders were heard of lately.
func (l *leases) Count() (leased int, builders []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b := range l.seen {
		builders = append(builders, b)
	}
	return len(l.byTask), builders
}
