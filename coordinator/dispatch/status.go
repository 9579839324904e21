package dispatch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Builders tells what is known of the builders that were heard of lately, in the order of their names.
func (l *Duty) Builders() []*kilnv1.BuilderStatus {
	all := l.Leases.workers(time.Now())
	l.Sched.mu.Lock()
	defer l.Sched.mu.Unlock()
	for _, b := range all {
		if h := l.Sched.hold(b.GetId()); h != nil {
			b.Hold = cmp.Or(h.GetReason(), "it is held")
		}
	}
	return all
}

// workers is builders without their holds.
func (l *leases) workers(now time.Time) []*kilnv1.BuilderStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	leased := map[string]uint32{}
	for _, have := range l.byTask {
		leased[have.builder]++
	}
	var all []*kilnv1.BuilderStatus
	for _, id := range slices.Sorted(maps.Keys(l.seen)) {
		w := l.seen[id]
		all = append(all, &kilnv1.BuilderStatus{
			Id: id, Version: w.info.GetVersion(), Platforms: w.info.GetPlatforms(), Classes: w.info.GetClasses(),
			Slots: w.info.GetSlots(), Leased: leased[id], SilentMs: now.Sub(w.at).Milliseconds(), Draining: w.draining,
			Done: w.done, Failed: w.failed,
		})
	}
	return all
}

// Teams tells what each team that has a record or builds under way has of the farm, in the order of their names.
func (l *Duty) Teams() []*kilnv1.TeamStatus {
	byName := map[string]*kilnv1.TeamStatus{}
	l.View(func(m *state.Machine) {
		for _, t := range m.Teams() {
			byName[t.GetName()] = &kilnv1.TeamStatus{Team: t}
		}
		for _, b := range m.Builds() {
			if b.Ended() {
				continue
			}
			name := b.Spec.GetTeam()
			if byName[name] == nil {
				byName[name] = &kilnv1.TeamStatus{Team: m.Team(name)}
			}
			byName[name].Builds++
		}
	})
	l.Sched.mu.Lock()
	defer l.Sched.mu.Unlock()
	var all []*kilnv1.TeamStatus
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		t := byName[name]
		if s := l.Sched.shares.teams[name]; s != nil {
			t.Ready, t.Leased = uint32(max(s.waiting, 0)), uint32(max(s.running, 0))
		}
		all = append(all, t)
	}
	return all
}

// queuePage is how many tasks or builds of the queue are looked at while the state is locked.
const queuePage = 256

// Queue tells what waits for a builder, about in the order in which it will go, and why; of all teams when team is
// empty. Total is how many there are, whatever the limit. It looks at the state page by page: nobody waits for a long queue.
func (l *Duty) Queue(team string, limit int) (steps []*kilnv1.QueuedStep, total int) {
	builders := l.Builders()
	infos := l.Leases.infos()
	items, limits := l.Sched.waiting(team)
	now := time.Now()
	for page := range slices.Chunk(items, queuePage) {
		l.View(func(m *state.Machine) {
			for _, it := range page {
				t := m.Task(it.task)
				if t == nil || t.State != state.Ready {
					continue
				}
				if total++; len(steps) < limit {
					s := queuedStep(m, t, it)
					s.WaitsMs = now.Sub(it.since).Milliseconds()
					s.Reason = cmp.Or(limits[it.team], whyNot(it.class, builders, infos))
					steps = append(steps, s)
				}
			}
		})
	}
	seen := map[string]bool{}
	// add tells of a task that is ready and not queued.
	add := func(m *state.Machine, t *state.Task, reason func(team string) string) {
		it := itemOf(m, t)
		if seen[t.Key] || team != "" && it.team != team {
			return
		}
		seen[t.Key] = true
		if total++; len(steps) < limit {
			s := queuedStep(m, t, it)
			s.Reason = reason(it.team)
			steps = append(steps, s)
		}
	}
	var held map[string][]string
	l.View(func(m *state.Machine) { held = m.HeldBack() })
	for _, name := range slices.Sorted(maps.Keys(held)) {
		for page := range slices.Chunk(held[name], queuePage) {
			l.View(func(m *state.Machine) {
				for _, id := range page {
					b := m.Build(id)
					if b == nil || b.Ended() {
						continue
					}
					for _, n := range b.Nodes {
						t := m.Task(n.Key)
						if n.State != state.Attached || t == nil || t.State != state.Ready || t.NotBefore > now.UnixMilli() || mayRun(m, t) {
							continue
						}
						add(m, t, func(team string) string {
							return fmt.Sprintf("team %s has its %d builds under way, and this one waits for its turn", team, m.Team(team).GetMaxBuilds())
						})
					}
				}
			})
		}
	}
	for page := range slices.Chunk(l.delayed.list(), queuePage) {
		l.View(func(m *state.Machine) {
			for _, key := range page {
				if t := m.Task(key); t != nil && t.State == state.Ready && t.NotBefore > now.UnixMilli() {
					add(m, t, func(string) string {
						return fmt.Sprintf("it is tried again in %s", (time.Duration(t.NotBefore-now.UnixMilli()) * time.Millisecond).Round(time.Second/10))
					})
				}
			}
		})
	}
	return steps, total
}

// waiting returns what is queued, first what goes first, and for each team that is at its limit a sentence.
func (s *scheduler) waiting(team string) (items []item, limits map[string]string) {
	limits = map[string]string{}
	had := map[string]int64{} // of the farm, by team
	s.mu.Lock()
	for at, q := range s.queues {
		if team != "" && at.team != team {
			continue
		}
		items = append(items, *q...)
		t := s.shares.of(at.team)
		if had[at.team] = t.virtual; !s.shares.may(at.team) {
			limits[at.team] = fmt.Sprintf("team %s has its %d of %d steps running", at.team, t.running, t.most)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(items, func(a, b item) int {
		switch {
		case had[a.team] != had[b.team]:
			return cmp.Compare(had[a.team], had[b.team])
		case before(a, b):
			return -1
		case before(b, a):
			return 1
		}
		return 0
	})
	return items, limits
}

// delayed are the tasks that are ready later.
type delayed struct {
	mu    sync.Mutex // guards tasks
	tasks map[string]int
}

// add counts a task in; done counts it out.
func (d *delayed) add(task string) (done func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tasks == nil {
		d.tasks = map[string]int{}
	}
	d.tasks[task]++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.tasks[task]--; d.tasks[task] == 0 {
			delete(d.tasks, task)
		}
	}
}

func (d *delayed) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.tasks))
}

// infos returns what the builders said of themselves, by their names.
func (l *leases) infos() map[string]*kilnv1.BuilderInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]*kilnv1.BuilderInfo{}
	for id, w := range l.seen {
		all[id] = w.info
	}
	return all
}

func queuedStep(m *state.Machine, t *state.Task, it item) *kilnv1.QueuedStep {
	s := &kilnv1.QueuedStep{
		Task: t.Key, Kind: it.class.kind, Platform: it.class.platform, Team: it.team, Priority: it.priority,
	}
	builds := map[string]bool{}
	for _, w := range t.Waiters {
		builds[w.Build] = true
		if b := m.Build(w.Build); b != nil && b.Order == it.order && b.Spec.GetTeam() == it.team {
			s.Build, s.Name, s.Label = w.Build, b.Spec.GetName(), b.Nodes[w.Node].Spec.GetLabel()
		}
	}
	s.Builds = uint32(len(builds))
	return s
}

// whyNot says why tasks of a class wait, given the builders that were heard of.
func whyNot(c class, builders []*kilnv1.BuilderStatus, infos map[string]*kilnv1.BuilderInfo) string {
	if len(builders) == 0 {
		return "no builder is connected"
	}
	platform, resource, able := c.platform == "", c.resource == "", 0
	var slots uint32
	var held *kilnv1.BuilderStatus
	open := 0
	for _, b := range builders {
		platform = platform || slices.Contains(b.GetPlatforms(), c.platform)
		resource = resource || slices.Contains(b.GetClasses(), c.resource)
		if !accepts(infos[b.GetId()], c) {
			continue
		}
		able++
		switch {
		case b.GetHold() != "":
			held = b
		case !b.GetDraining():
			open++
			slots += b.GetSlots()
		}
	}
	switch {
	case !platform:
		return fmt.Sprintf("no builder for %s is connected", c.platform)
	case !resource:
		return fmt.Sprintf("no builder of the class %s is connected", c.resource)
	case able == 0:
		return fmt.Sprintf("no builder that is connected can run it: it needs %s", c.needs())
	case open == 0 && held != nil:
		return fmt.Sprintf("builder %s is held: %s", held.GetId(), held.GetHold())
	case open == 0:
		return "all builders that can run it are about to end"
	}
	return fmt.Sprintf("all %d slots are busy", slots)
}

// needs says what a builder must offer.
func (c class) needs() string {
	text := fmt.Sprintf("steps of kind %s, version %d", c.kind, c.version)
	if c.platform != "" {
		text += ", for " + c.platform
	}
	if c.resource != "" {
		text += ", of the class " + c.resource
	}
	return text
}
