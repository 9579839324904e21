package results

import (
	"sync"

	"github.com/kiln-farm/kiln/coordinator/feed"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// finals are the records that answered builds which are not recorded yet.
type finals struct {
	mu      sync.Mutex
	byBuild map[string]*kilnv1.Final
}

func (f *finals) set(build string, final *kilnv1.Final) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if final == nil {
		delete(f.byBuild, build)
	} else {
		f.byBuild[build] = final
	}
}

func (f *finals) Get(build string) *kilnv1.Final {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byBuild[build]
}

// pending are the keys of new tasks that nobody looks up yet. Those that come while lookups are under way are
// looked up together.
type pending struct {
	mu      sync.Mutex
	keys    []string
	workers int
}

// add adds keys, and calls start when there is room for another worker.
func (p *pending) add(keys []string, start func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, keys...)
	if p.workers < lookups {
		p.workers++
		start()
	}
}

// take returns all keys; with none left the worker that asks is done.
func (p *pending) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := p.keys
	p.keys = nil
	if len(keys) == 0 {
		p.workers--
	}
	return keys
}

func (l *Duty) lookupPending() {
	for keys := l.pending.take(); len(keys) > 0; keys = l.pending.take() {
		l.lookup(keys)
	}
}

// lookup finds out whether new tasks were done before. A cache that fails is an empty one.
func (l *Duty) lookup(keys []string) {
	var plans, rest []string
	l.View(func(m *state.Machine) {
		for _, k := range keys {
			t := m.Task(k)
			if t == nil || t.State != state.Fresh {
				continue
			}
			if _, n := m.NodeOf(t); n.Spec.GetKind() == step.Plan {
				plans = append(plans, k)
			} else {
				rest = append(rest, k)
			}
		}
	})
	for _, k := range plans {
		if !l.answerByFinal(k) {
			rest = append(rest, k)
		}
	}
	if len(rest) == 0 {
		return
	}
	hits, err := l.found.lookup(l.Context(), rest)
	if err != nil && l.Context().Err() == nil {
		l.Log.Warn("the cache cannot be asked for results, so all are made again", "steps", len(rest), "error", err)
	}
	commands := make([]*kilnv1.Command, len(rest))
	for i, k := range rest {
		commands[i] = &kilnv1.Command{Command: &kilnv1.Command_Looked{Looked: &kilnv1.LookedCommand{Task: k, Hit: hits[k]}}}
	}
	l.Tell(commands...)
}

// answerByFinal ends the builds that wait for a plan whose outputs are all known and there, those included that come
// while others are ended: they are not told of as new. False when there is no such record, or a build does not end by it.
func (l *Duty) answerByFinal(planKey string) bool {
	final, err := l.found.final(l.Context(), planKey)
	if err != nil && l.Context().Err() == nil {
		l.Log.Warn("the record of a plan's outputs cannot be read, so the plan is looked at again", "plan", planKey, "error", err)
	}
	if final == nil || err != nil {
		return false
	}
	answered := map[string]bool{}
	for {
		var builds []string
		left := false
		l.View(func(m *state.Machine) {
			t := m.Task(planKey)
			if t == nil || t.State != state.Fresh {
				return
			}
			for _, w := range t.Waiters {
				if left = left || answered[w.Build]; !answered[w.Build] {
					builds = append(builds, w.Build)
				}
			}
		})
		if len(builds) == 0 {
			return !left
		}
		commands := make([]*kilnv1.Command, len(builds))
		for i, id := range builds {
			answered[id] = true
			l.Finals.set(id, final)
			l.Feeds.Start(id).Add(feed.GraphOfRecords(HitsOf(final), true)...)
			commands[i] = &kilnv1.Command{Command: &kilnv1.Command_Finish{Finish: &kilnv1.FinishCommand{Build: id, Outputs: final.GetOutputs(), Final: true}}}
		}
		if _, err := l.Propose(l.Context(), commands...); err != nil {
			return true // the next leader finds the plan as it is
		}
	}
}

// HitsOf are the nodes of a final record as a later build sees them.
func HitsOf(final *kilnv1.Final) []*kilnv1.NodeRecord {
	nodes := make([]*kilnv1.NodeRecord, len(final.GetNodes()))
	for i, n := range final.GetNodes() {
		nodes[i] = proto.CloneOf(n)
		nodes[i].Hit = true
	}
	return nodes
}
