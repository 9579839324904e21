package names

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kiln-farm/kiln/coordinator/ddns"
	"github.com/kiln-farm/kiln/coordinator/nsupdate"
	"github.com/kiln-farm/kiln/internal/meter"
	"github.com/kiln-farm/kiln/internal/seldom"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	laneBatch = 64  // records that are worked on at a time
	laneConns = 4   // connections to one server
	laneRate  = 500 // records a second to one server

	// laneGiveUp is how long it is tried to remove records of a server that no subnet names any more.
	laneGiveUp = 24 * time.Hour
)

// Times are how long nothing is tried again, the first time and at most, how long after the last leader something that it
// sent may still arrive, and how often everything is sent once more.
type Times struct {
	Away, Refused, Taken [2]time.Duration
	Settle, Sweep        time.Duration
}

// Usual are the times for servers that people run.
func usualDNS() Times {
	return Times{Away: [2]time.Duration{time.Second, 30 * time.Second}, Refused: [2]time.Duration{2 * time.Second, time.Minute},
		Taken: [2]time.Duration{time.Minute, 10 * time.Minute}, Settle: 30 * time.Second, Sweep: 24 * time.Hour}
}

// lane is all work at one DNS server: what was planned last, and what came of it. A server that is away holds up no other one.
type lane struct {
	p      *Duty
	server string
	pace   *rate.Limiter
	woken  chan struct{} // holds a token when there may be something to do

	mu       sync.Mutex // guards what follows
	tasks    []ddns.Task
	open     map[ddns.Key]bool // of tasks
	finished map[ddns.Key]bool // since mark
	named    bool              // a subnet names the server
	alone    time.Time         // since when none does
	away     pause
	zones    map[string]*pause
	records  map[ddns.Key]*pause // that are somebody else's, or to be done once more
	sayings  *seldom.Sayings
}

// pause is until when nothing is tried again, and why.
type pause struct {
	until time.Time
	last  time.Duration
	now   kilnv1.NameState
	why   string
}

func (w *pause) grow(times [2]time.Duration, now kilnv1.NameState, why string) {
	w.last = min(max(times[0], 2*w.last), times[1])
	w.until, w.now, w.why = time.Now().Add(w.last), now, why
}

func newLane(p *Duty, server string) *lane {
	return &lane{p: p, server: server, pace: rate.NewLimiter(laneRate, laneBatch), woken: make(chan struct{}, 1), named: true,
		open: map[ddns.Key]bool{}, finished: map[ddns.Key]bool{}, zones: map[string]*pause{}, records: map[ddns.Key]*pause{}, sayings: seldom.New(seldom.Every, nil)}
}

// mark begins a plan: what is finished from now on need not be done again for it.
func (l *lane) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.finished)
}

// offer replaces what is to be done.
func (l *lane) offer(tasks []ddns.Task, named bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks, l.open = nil, make(map[ddns.Key]bool, len(tasks))
	for _, t := range tasks {
		if key := ddns.KeyOf(t.Record); !l.finished[key] {
			l.tasks = append(l.tasks, t)
			if !t.Again {
				l.open[key] = true
			}
		}
	}
	maps.DeleteFunc(l.records, func(key ddns.Key, _ *pause) bool { return !l.open[key] })
	if l.named = named; named {
		l.alone = time.Time{}
	} else if l.alone.IsZero() {
		l.alone = time.Now()
	}
	l.wake()
}

func (l *lane) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// hope forgets refusals: an operator may have mended their reason.
func (l *lane) hope() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.zones)
	maps.DeleteFunc(l.records, func(_ ddns.Key, w *pause) bool { return w.now == kilnv1.NameState_NAME_STATE_TAKEN })
	l.wake()
}

// said is what became of a record that is not as it should be; false when it is not known yet.
func (l *lane) said(key ddns.Key) (kilnv1.NameState, string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open[key] {
		return 0, "", false
	}
	for _, w := range []*pause{l.records[key], l.zones[key.Zone], &l.away} {
		if w != nil && !w.until.IsZero() {
			return w.now, w.why, true
		}
	}
	return 0, "", false
}

// run works until leadership ends.
func (l *lane) run(ctx context.Context) {
	conns := make([]*nsupdate.Conn, laneConns)
	for i := range conns {
		conns[i] = nsupdate.NewConn(l.server)
	}
	hangUp := func() {
		for _, c := range conns {
			c.Close()
		}
	}
	defer hangUp()
	for ctx.Err() == nil {
		batch, wait := l.take(time.Now())
		if len(batch) > 0 {
			l.work(ctx, batch, conns)
			continue
		}
		hangUp()
		timer := time.NewTimer(wait)
		select {
		case <-l.woken:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// take is what may be tried now, or how long to wait until something may be.
func (l *lane) take(now time.Time) (batch []ddns.Task, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait = time.Hour
	later := func(w *pause) bool {
		if w == nil || !w.until.After(now) {
			return false
		}
		wait = min(wait, w.until.Sub(now))
		return true
	}
	if len(l.tasks) == 0 || later(&l.away) {
		return nil, wait
	}
	for _, t := range l.tasks {
		if !later(l.zones[t.Record.GetZone()]) && !later(l.records[ddns.KeyOf(t.Record)]) {
			if batch = append(batch, t); len(batch) == laneBatch {
				break
			}
		}
	}
	return batch, wait
}

// work does a batch: it is in the state before anything is sent, and what came of it afterwards.
func (l *lane) work(ctx context.Context, batch []ddns.Task, conns []*nsupdate.Conn) {
	before := &kilnv1.PublishCommand{}
	for _, t := range batch {
		if t.Put {
			before.Put = append(before.Put, ddns.As(t.Record, false))
		}
	}
	if !l.commit(ctx, before) {
		return
	}
	l.noted(before)
	results := l.talkAll(ctx, batch, conns)
	if ctx.Err() != nil {
		return // the next leader finds in the state what may have been done
	}
	l.settle(ctx, batch, results)
}

// commit writes to the state what is in DNS; false when it could not, after a while.
func (l *lane) commit(ctx context.Context, c *kilnv1.PublishCommand) bool {
	if len(c.GetPut())+len(c.GetRemove()) == 0 {
		return true
	}
	results, err := l.p.Propose(ctx, &kilnv1.Command{Command: &kilnv1.Command_Publish{Publish: c}})
	if err == nil && results[0].Refused == "" {
		return true
	}
	if ctx.Err() == nil && err == nil {
		l.say(fmt.Sprintf("names are not published: the farm keeps account of no more of them (%s); take dns_update out of some subnets", results[0].Refused))
	}
	select {
	case <-time.After(l.p.times.Away[0]):
	case <-ctx.Done():
	}
	return false
}

// noted marks tasks whose records the state knows.
func (l *lane) noted(c *kilnv1.PublishCommand) {
	keys := map[ddns.Key]bool{}
	for _, r := range c.GetPut() {
		keys[ddns.KeyOf(r)] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.tasks {
		if keys[ddns.KeyOf(l.tasks[i].Record)] {
			l.tasks[i].Put = false
		}
	}
}

// settle notes what came of a batch.
func (l *lane) settle(ctx context.Context, batch []ddns.Task, results []result) {
	after := &kilnv1.PublishCommand{}
	again := map[ddns.Key]time.Duration{}
	for i, t := range batch {
		r := &results[i]
		if r.skipped {
			continue
		}
		dnsUpdates.Add(ctx, 1, meter.Label("result", r.verdict.String()))
		if t.Again {
			if r.verdict == ddns.Taken || r.verdict == ddns.Refused { // from now on it is one that is not there
				after.Put = append(after.Put, ddns.As(t.Record, false))
			}
			continue
		}
		if t.Remove && (r.verdict == ddns.Refused || r.verdict == ddns.Away) && l.givesUp() {
			l.p.Log.Warn("a name is left behind in DNS: no subnet names its server any more, which takes no updates", "server", l.server, "name", t.Record.GetName(), "address", t.Record.GetAddress())
			r.verdict = ddns.Done
		}
		if r.verdict != ddns.Done {
			continue
		}
		switch left := l.p.settling(ddns.KeyOf(t.Record)); {
		case left > 0:
			again[ddns.KeyOf(t.Record)] = left
		case t.Remove:
			after.Remove = append(after.Remove, t.Record)
		default:
			after.Put = append(after.Put, ddns.As(t.Record, true))
		}
	}
	kept := l.commit(ctx, after)
	defer l.p.look() // a plan that was made meanwhile may have lost a task below
	l.mu.Lock()
	defer l.mu.Unlock()
	away := false
	gone := map[ddns.Key]bool{}
	for i, t := range batch {
		r, key, zone := results[i], ddns.KeyOf(t.Record), t.Record.GetZone()
		switch {
		case r.skipped:
		case t.Again && r.verdict != ddns.Away:
			gone[key] = true
			l.p.sweep.sent(key)
		case r.verdict == ddns.Done:
			delete(l.zones, zone)
			if again[key] > 0 {
				l.records[key] = &pause{until: time.Now().Add(again[key]), now: kilnv1.NameState_NAME_STATE_PUBLISHED}
			} else if kept {
				gone[key] = true
				delete(l.records, key)
			}
		case r.verdict == ddns.Taken:
			if l.records[key] == nil {
				l.records[key] = &pause{}
			}
			l.records[key].grow(l.p.times.Taken, kilnv1.NameState_NAME_STATE_TAKEN, r.why)
			l.sayLocked(r.why)
		case r.verdict == ddns.Refused:
			if l.zones[zone] == nil {
				l.zones[zone] = &pause{}
			}
			if !l.zones[zone].until.After(time.Now()) { // one for the batch
				l.zones[zone].grow(l.p.times.Refused, kilnv1.NameState_NAME_STATE_REFUSED, r.why)
			}
			l.sayLocked(r.why)
		case !away:
			away = true
			l.away.grow(l.p.times.Away, kilnv1.NameState_NAME_STATE_WAITING, r.why)
			l.sayLocked(r.why)
		}
	}
	if !away {
		l.away = pause{}
	}
	l.tasks = slices.DeleteFunc(l.tasks, func(t ddns.Task) bool { return gone[ddns.KeyOf(t.Record)] })
	for key := range gone {
		l.finished[key] = true
		delete(l.open, key)
	}
}

func (l *lane) givesUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.named && !l.alone.IsZero() && time.Since(l.alone) > laneGiveUp
}

func (l *lane) say(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sayLocked(why)
}

// sayLocked logs a sentence, and the same one again after a while. It is called with mu held.
func (l *lane) sayLocked(why string) {
	if why == "" || !l.sayings.Due(why) {
		return
	}
	l.p.Log.Warn("names are not published: "+why, "server", l.server)
}
