package dispatch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestTheSchedulerTakesTheFirstThatTheBuilderCanRun(t *testing.T) {
	var got []string
	s := newScheduler(func(_ *ask, items []item, done func([]*kilnv1.Lease)) {
		for _, it := range items {
			got = append(got, it.task)
		}
		done(nil)
	})
	kind := class{"segment", 1, "", ""}
	s.add(
		item{task: "second build", class: kind, order: 2},
		item{task: "later in its graph", class: kind, order: 1, node: 5},
		item{task: "first", class: kind, order: 1, node: 3},
		item{task: "urgent", class: kind, order: 3, priority: 1},
		item{task: "another platform", class: class{"segment", 1, "linux/arm64", ""}},
		item{task: "another version", class: class{"segment", 2, "", ""}},
		item{task: "canceled", class: kind},
	)
	s.remove("canceled")
	info := &kilnv1.BuilderInfo{Id: "b", Platforms: []string{"linux/amd64"}, Kinds: []*kilnv1.StepKind{{Kind: "segment", Version: 1}}}
	s.ask(context.Background(), info, 3, 0, nil, time.Minute)
	s.ask(context.Background(), info, 3, 0, nil, time.Minute)
	want := "[urgent first later in its graph second build]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if s.Ready() != 2 {
		t.Errorf("%d are left, want 2", s.Ready())
	}
	if leases := s.ask(context.Background(), info, 1, 0, nil, time.Millisecond); leases != nil || len(s.asks) != 0 {
		t.Errorf("an ask that waited in vain: %v, %d asks are left", leases, len(s.asks))
	}
}

func TestHeartbeatsRenewAndReveal(t *testing.T) {
	l, now := newLeases(), time.Unix(1000, 0)
	ref := &kilnv1.LeaseRef{Epoch: 1, Number: 1, Task: "a"}
	l.grant(ref, "b", "s", 1, now, time.Hour)
	if late := l.overdue(now.Add(LeaseTTL + LeaseGrace)); len(late) != 0 {
		t.Error("overdue within its time")
	}
	now = now.Add(LeaseTTL)
	if unknown, lost := l.beat(beatOf("s", 0, 0, ref, &kilnv1.LeaseRef{Epoch: 1, Number: 2, Task: "a"}), 7, now); len(unknown) != 1 || len(lost) != 0 {
		t.Errorf("unknown %v, lost %v", unknown, lost)
	}
	if late := l.overdue(now.Add(LeaseTTL + LeaseGrace)); len(late) != 0 {
		t.Error("overdue after a heartbeat")
	}
	if _, lost := l.beat(beatOf("s", 0, 0), 7, now); len(lost) != 1 {
		t.Error("a lease that its builder does not know of was not noticed")
	}
	if late := l.overdue(now.Add(LeaseTTL + LeaseGrace + 1)); len(late) != 1 {
		t.Error("not overdue without a heartbeat")
	}
	if late := l.overdue(now.Add(2 * time.Hour)); !strings.Contains(late[ref], "was not heard of any more") {
		t.Errorf("got %q", late[ref])
	}
}

func beatOf(session string, term, poll uint64, held ...*kilnv1.LeaseRef) *kilnv1.HeartbeatRequest {
	return &kilnv1.HeartbeatRequest{Builder: &kilnv1.BuilderInfo{Id: "b", Session: session}, Leases: held, Term: term, Poll: poll}
}

func TestALeaseThatNeverReachedItsBuilderIsNoticed(t *testing.T) {
	ref := &kilnv1.LeaseRef{Epoch: 1, Number: 1, Task: "a"}
	for _, c := range []struct {
		name    string
		granted uint64 // to this poll
		beat    *kilnv1.HeartbeatRequest
		lost    bool
	}{
		{"its grant may be on its way", 3, beatOf("s", 7, 3), false},
		{"the builder has asked again since", 3, beatOf("s", 7, 4), true},
		{"the builder works on it", 3, beatOf("s", 7, 4, ref), false},
		{"the builder does not know of this leader yet", 3, beatOf("s", 6, 4), false},
		{"the last leader granted it, and its answers are not waited for any more", 0, beatOf("s", 7, 1), true},
		{"the last leader granted it, and the builder still waits for that one", 0, beatOf("s", 6, 1), false},
		{"the builder was started anew", 3, beatOf("t", 0, 1), true},
	} {
		l := newLeases()
		now := time.Now()
		l.grant(ref, "b", "s", c.granted, now, time.Hour)
		if _, lost := l.beat(c.beat, 7, now); (len(lost) == 1) != c.lost {
			t.Errorf("%s: lost %v, want %t", c.name, lost, c.lost)
		}
	}
}
