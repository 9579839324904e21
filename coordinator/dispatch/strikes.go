package dispatch

import (
	"fmt"
	"slices"
	"sync"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	strikesOut    = 3                // steps that a builder failed and others did, then it is held
	strikesWithin = 10 * time.Minute // of each other
	firstHold     = 5 * time.Minute  // doubled each time
	longestHold   = time.Hour
	maxFailures   = 100_000 // tasks whose failures are remembered
)

// strikes remembers which builders failed which tasks, so that others get them, and which builders fail what others
// do, so that they are left alone for a while. A step that fails everywhere is nobody's strike.
type strikes struct {
	mu       sync.Mutex // guards what follows
	failures map[string][]string
	strikes  map[string][]time.Time
	holds    map[string]int // how often each builder was held
}

func newStrikes() *strikes {
	return &strikes{failures: map[string][]string{}, strikes: map[string][]time.Time{}, holds: map[string]int{}}
}

// failed notes that a builder could not run a task, for a reason that is not the task's.
func (s *strikes) failed(task, builder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) < maxFailures && !slices.Contains(s.failures[task], builder) {
		s.failures[task] = append(s.failures[task], builder)
	}
}

// of are the builders that failed a task. The caller does not change it.
func (s *strikes) of(task string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clip(s.failures[task])
}

// forget drops what is known of a task that nobody waits for any more.
func (s *strikes) forget(task string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failures, task)
}

// done notes that a builder did a task, and returns the holds that the builders which failed it have earned now.
func (s *strikes) done(task, builder string, now time.Time) []*kilnv1.HoldCommand {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*kilnv1.HoldCommand
	for _, other := range s.failures[task] {
		if other == builder {
			continue
		}
		list := append(s.strikes[other], now)
		list = slices.DeleteFunc(list, func(at time.Time) bool { return now.Sub(at) > strikesWithin })
		if len(list) < strikesOut {
			s.strikes[other] = list
			continue
		}
		delete(s.strikes, other)
		hold := min(firstHold<<min(s.holds[other], 10), longestHold)
		s.holds[other]++
		out = append(out, &kilnv1.HoldCommand{
			Builder: other, Until: now.Add(hold).UnixMilli(),
			Reason: fmt.Sprintf("it failed %d steps within %s that other builders then did; it gets work again in %s, or with kiln farm undrain", strikesOut, strikesWithin, hold),
		})
	}
	delete(s.failures, task)
	return out
}

// holdFaulty keeps work away from builders.
func (l *Duty) holdFaulty(holds []*kilnv1.HoldCommand) {
	for _, h := range holds {
		l.Log.Warn("a builder is held", "builder", h.GetBuilder(), "reason", h.GetReason())
		l.Tell(&kilnv1.Command{Command: &kilnv1.Command_Hold{Hold: h}})
	}
}
