package dispatch

import (
	"fmt"
	"testing"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// serve gives a farm of one slot to teams that always have work, and counts the µs that each got.
func serve(s *shares, took map[string]time.Duration, rounds int, now time.Time) map[string]int64 {
	got := map[string]int64{}
	for i := range rounds {
		var first item
		for team := range took {
			it := item{task: fmt.Sprint(team, i), team: team, class: class{kind: "kind of " + team}}
			if first.task == "" || s.before(it, first) {
				first = it
			}
		}
		s.run(first, now)
		now = now.Add(took[first.team])
		s.end(first.task, now)
		got[first.team] += took[first.team].Microseconds()
	}
	return got
}

func TestSharesComeToTheWeightsWhateverTheStepsTake(t *testing.T) {
	s := newShares()
	s.configure([]*kilnv1.Team{{Name: "large", Weight: 300}, {Name: "small", Weight: 1}})
	took := map[string]time.Duration{"large": 10 * time.Millisecond, "default": 700 * time.Millisecond, "small": time.Millisecond}
	for team := range took {
		s.wait(team)
	}
	got := serve(s, took, 100_000, time.Unix(1000, 0))
	for team, want := range map[string]int64{"large": 300, "default": 100, "small": 1} {
		total := got["large"] + got["default"] + got["small"]
		if part := got[team] * 401 / (total / 1000); part < want*950 || part > want*1050 {
			t.Errorf("%s got %d thousandths of its weight's unit, want about %d", team, part, want*1000)
		}
	}
}

func TestATeamThatComesBackIsOwedNothing(t *testing.T) {
	s := newShares()
	s.wait("there")
	s.wait("away")
	s.leave("away")
	serve(s, map[string]time.Duration{"there": time.Second}, 1000, time.Unix(1000, 0))
	s.wait("away")
	got := serve(s, map[string]time.Duration{"there": time.Second, "away": time.Second}, 100, time.Unix(9000, 0))
	if got["there"] < 40_000_000 || got["away"] < 40_000_000 {
		t.Errorf("got %v, want about half for each", got)
	}
}

func TestLimitsAndHoldsKeepWorkBack(t *testing.T) {
	var got []string
	s := newScheduler(func(_ *ask, items []item, done func([]*kilnv1.Lease)) {
		for _, it := range items {
			got = append(got, it.task)
		}
		done(nil)
	})
	s.configure([]*kilnv1.Team{{Name: "limited", Weight: 100, MaxLeases: 1}}, []*kilnv1.HoldCommand{{Builder: "held", Reason: "it is faulty"}})
	kind := class{kind: "segment", version: 1}
	s.add(item{task: "a", team: "limited", class: kind}, item{task: "b", team: "limited", class: kind, node: 1},
		item{task: "large", team: "other", class: class{kind: "segment", version: 1, resource: "large"}})
	info := func(id string, classes ...string) *kilnv1.BuilderInfo {
		return &kilnv1.BuilderInfo{Id: id, Classes: classes, Kinds: []*kilnv1.StepKind{{Kind: "segment", Version: 1}}}
	}
	for _, c := range []struct {
		name string
		do   func()
		want string
	}{
		{"a held builder gets nothing", func() { s.ask(t.Context(), info("held", "large"), 9, 0, nil, time.Millisecond) }, "[]"},
		{"a team gets no more than its limit", func() { s.ask(t.Context(), info("small"), 9, 0, nil, time.Millisecond) }, "[a]"},
		{"a resource class goes where it is offered", func() { s.ask(t.Context(), info("large", "large"), 9, 0, nil, time.Millisecond) }, "[a large]"},
		{"what ends makes room", func() { s.ended("a"); s.ask(t.Context(), info("small"), 9, 0, nil, time.Millisecond) }, "[a large b]"},
	} {
		if c.do(); fmt.Sprint(got) != c.want {
			t.Errorf("%s: got %v, want %s", c.name, got, c.want)
		}
	}
}
