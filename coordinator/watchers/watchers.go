package watchers

import (
	"context"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// lookEvery is how often it is looked which builds nobody watches.
const lookEvery = time.Second

// Kind is the duty. Patience is how long a build goes on while nobody watches it.
func Kind(patience time.Duration) duty.Kind {
	return duty.Kind{
		Name: "watchers", Does: "cancels builds whose clients went away",
		Reads:    []state.Part{state.Builds},
		Proposes: []state.CommandKind{"cancel"},
		New:      func(t duty.Tools) duty.Duty { return New(t, patience) },
	}
}

// Duty knows which builds somebody watches. A build that nobody watches any more and that was not submitted to go
// on alone is canceled after a while: its client was stopped hard, or its machine died.
type Duty struct {
	duty.Tools
	duty.Passive
	patience time.Duration

	mu   sync.Mutex // guards what follows
	here map[string]int
	gone map[string]time.Time // since when nobody watches
}

func New(t duty.Tools, patience time.Duration) *Duty {
	return &Duty{Tools: t, patience: patience, here: map[string]int{}, gone: map[string]time.Time{}}
}

// Enter counts a watcher in; leave counts it out.
func (w *Duty) Enter(build string) (leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.here[build]++
	delete(w.gone, build)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.here[build]--; w.here[build] == 0 {
			delete(w.here, build)
			w.gone[build] = time.Now()
		}
	}
}

// Left returns those of builds that nobody has watched for patience. A build that it sees for the first time has had
// a watcher until now: its client is about to come, or to come back to a new leader.
func (w *Duty) Left(builds []string, patience time.Duration, now time.Time) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	still := make(map[string]time.Time, len(builds))
	for _, id := range builds {
		if w.here[id] > 0 {
			continue
		}
		since, known := w.gone[id]
		if !known {
			since = now
		}
		still[id] = since
		if now.Sub(since) > patience {
			all = append(all, id)
		}
	}
	w.gone = still
	return all
}

// Run implements duty.Duty: it cancels builds whose clients went away.
func (w *Duty) Run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			w.cancelLeft(now)
		}
	}
}

func (w *Duty) cancelLeft(now time.Time) {
	var attended []string // builds that somebody should attend
	w.View(func(m *state.Machine) {
		for _, b := range m.Builds() {
			if !b.Ended() && !b.Spec.GetDetached() {
				attended = append(attended, b.Spec.GetId())
			}
		}
	})
	var commands []*kilnv1.Command
	for _, id := range w.Left(attended, w.patience, now) {
		w.Log.Info("a build is canceled since nobody watches it", "build", id)
		commands = append(commands, &kilnv1.Command{Command: &kilnv1.Command_Cancel{Cancel: &kilnv1.CancelCommand{
			Build: id, Reason: "its client went away (a build that is to go on alone is submitted with --detach)",
		}}})
	}
	w.Tell(commands...)
}
