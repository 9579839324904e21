package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// pairs says who gets what when builders with that many credits each ask, and then all tasks come at once.
func pairs(t *testing.T, credits int, builders string, items ...item) string {
	t.Helper()
	got := map[string][]string{}
	s := newScheduler(func(a *ask, items []item, done func([]*kilnv1.Lease)) {
		for _, it := range items {
			got[a.info.GetId()] = append(got[a.info.GetId()], it.task)
		}
	})
	for _, id := range strings.Split(builders, "") {
		info := &kilnv1.BuilderInfo{Id: id, Kinds: []*kilnv1.StepKind{{Kind: "segment", Version: 1}}}
		s.met(info, time.Now())
		s.asks = append(s.asks, &ask{info: info, credits: credits, granted: make(chan []*kilnv1.Lease, 1)})
	}
	for i := range items {
		items[i].class = class{kind: "segment", version: 1}
		items[i].order = uint64(i)
	}
	s.add(items...)
	var text []string
	for id, tasks := range got {
		text = append(text, id+":"+strings.Join(tasks, ","))
	}
	slices.Sort(text)
	return strings.Join(text, " ")
}

func TestTasksGoToTheBuilderThatSuitsThemBest(t *testing.T) {
	made := func(builder string, bytes int64) []input { return []input{{builder, bytes}} }
	for _, c := range []struct {
		name     string
		credits  int
		builders string
		items    []item
		want     string
	}{
		{"work is spread", 4, "abc", []item{{task: "1"}, {task: "2"}, {task: "3"}, {task: "4"}}, "a:1,4 b:2 c:3"},
		{"a task goes to where its inputs are", 2, "abc", []item{{task: "1", inputs: made("c", 9)}, {task: "2", inputs: made("b", 9)}}, "b:2 c:1"},
		{"to where most of them are", 2, "ab", []item{{task: "1", inputs: []input{{"a", 5}, {"b", 3}, {"b", 3}}}}, "b:1"},
		{"but it does not wait for that", 1, "ab", []item{{task: "1", inputs: made("b", 9)}, {task: "2", inputs: made("b", 9)}}, "a:2 b:1"},
		{"a builder that failed it does not get it", 2, "ab", []item{{task: "1", avoid: []string{"a"}}}, "b:1"},
		{"unless there is no other", 2, "a", []item{{task: "1", avoid: []string{"a"}}}, "a:1"},
		{"or all have failed it", 2, "ab", []item{{task: "1", avoid: []string{"a", "b"}}}, "a:1"},
	} {
		if got := pairs(t, c.credits, c.builders, c.items...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestABuilderThatFailsWhatOthersDoIsHeld(t *testing.T) {
	s := newStrikes()
	now := time.Now()
	hold := func(n int) (holds []*kilnv1.HoldCommand) {
		for i := range n {
			task := fmt.Sprint("task", i)
			s.failed(task, "bad")
			holds = append(holds, s.done(task, "good", now)...)
		}
		return holds
	}
	if h := hold(2); len(h) != 0 {
		t.Fatalf("held after 2: %v", h)
	}
	s.failed("everywhere", "bad")
	s.forget("everywhere")
	s.failed("own", "bad")
	if h := s.done("own", "bad", now); len(h) != 0 {
		t.Fatalf("held for a task that it did in the end: %v", h)
	}
	h := hold(1)
	if len(h) != 1 || h[0].GetBuilder() != "bad" || h[0].GetUntil() != now.Add(firstHold).UnixMilli() {
		t.Fatalf("after 3: %v", h)
	}
	if h := hold(3); len(h) != 1 || h[0].GetUntil() != now.Add(2*firstHold).UnixMilli() {
		t.Fatalf("the second time: %v", h)
	}
	now = now.Add(time.Hour)
	hold(2)
	now = now.Add(time.Hour)
	if h := hold(2); len(h) != 0 {
		t.Fatalf("held for what was long ago: %v", h)
	}
}

func TestATaskThatAvoidsWhoAsksHoldsNobodyUp(t *testing.T) {
	var got []string
	s := newScheduler(func(_ *ask, items []item, _ func([]*kilnv1.Lease)) {
		for _, it := range items {
			got = append(got, it.task)
		}
	})
	kinds := []*kilnv1.StepKind{{Kind: "segment", Version: 1}}
	s.met(&kilnv1.BuilderInfo{Id: "busy", Kinds: kinds}, time.Now())
	s.asks = append(s.asks, &ask{info: &kilnv1.BuilderInfo{Id: "b", Kinds: kinds}, credits: 1, granted: make(chan []*kilnv1.Lease, 1)})
	kind := class{kind: "segment", version: 1}
	s.add(item{task: "failed on b", class: kind, avoid: []string{"b"}}, item{task: "another", class: kind, order: 1})
	if fmt.Sprint(got) != "[another]" {
		t.Errorf("got %v, want the other task", got)
	}
}
