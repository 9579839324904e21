package dispatch

import (
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	defaultWeight = 100
	firstEstimate = 100_000       // µs that a step is taken for while none of its kind has run
	maxCharge     = 3_600_000_000 // µs that one step counts at most
)

// shares is how much of the farm each team had, in virtual time: the µs that its steps ran, divided by its weight.
// The team that had least goes first. One that comes back starts where those that are there are: absence earns nothing.
type shares struct {
	teams   map[string]*share
	charges map[string]charge // by task that runs
	means   map[string]int64  // µs that a step of a kind runs, a running mean
	clock   int64             // virtual time of the team that was last served
}

type share struct {
	virtual int64
	weight  int64
	most    int // steps at a time; 0: no limit
	waiting int
	running int
}

// charge is what a step was taken for when it began.
type charge struct {
	team, kind string
	cost       int64 // µs
	at         time.Time
}

func newShares() *shares {
	return &shares{teams: map[string]*share{}, charges: map[string]charge{}, means: map[string]int64{}}
}

func (s *shares) of(team string) *share {
	t := s.teams[team]
	if t == nil {
		t = &share{weight: defaultWeight, virtual: s.clock}
		s.teams[team] = t
	}
	return t
}

// configure sets the weights and limits of teams; those that are not named have the default.
func (s *shares) configure(teams []*kilnv1.Team) {
	for _, t := range s.teams {
		t.weight, t.most = defaultWeight, 0
	}
	for _, c := range teams {
		t := s.of(c.GetName())
		t.weight, t.most = int64(max(c.GetWeight(), 1)), int(c.GetMaxLeases())
	}
}

// wait counts a task that is queued for a team.
func (s *shares) wait(team string) {
	t := s.of(team)
	if t.waiting == 0 && t.running == 0 {
		t.virtual = max(t.virtual, s.clock)
	}
	t.waiting++
}

// leave counts a task that is not queued any more.
func (s *shares) leave(team string) { s.of(team).waiting-- }

// may says that a team may run one more step.
func (s *shares) may(team string) bool {
	t := s.of(team)
	return t.most == 0 || t.running < t.most
}

// run charges a team for a step that begins, by what steps of its kind take.
func (s *shares) run(it item, now time.Time) {
	t := s.of(it.team)
	s.clock = max(s.clock, t.virtual)
	cost := s.means[it.class.kind]
	if cost == 0 {
		cost = firstEstimate
	}
	t.running++
	t.virtual += cost * defaultWeight / t.weight
	s.charges[it.task] = charge{it.team, it.class.kind, cost, now}
}

// end corrects the charge of a step by the time that it took, and says that its team was at its limit.
func (s *shares) end(task string, now time.Time) (full bool) {
	c, ok := s.charges[task]
	if !ok {
		return false
	}
	delete(s.charges, task)
	full = !s.may(c.team)
	t := s.of(c.team)
	t.running--
	took := min(max(now.Sub(c.at).Microseconds(), 1), maxCharge)
	t.virtual += (took - c.cost) * defaultWeight / t.weight
	if mean := s.means[c.kind]; mean == 0 {
		s.means[c.kind] = took
	} else {
		s.means[c.kind] = max(mean+(took-mean)/8, 1)
	}
	return full
}

// before says that a goes first: between teams the one that had less, within one as before says.
func (s *shares) before(a, b item) bool {
	if a.team != b.team {
		if x, y := s.of(a.team).virtual, s.of(b.team).virtual; x != y {
			return x < y
		}
	}
	return before(a, b)
}
