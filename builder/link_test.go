package builder

import (
	"context"
	"errors"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestAPollEndsWhenAnotherLeaderIsHeard(t *testing.T) {
	l := newLink()
	l.beacon(&kilnv1.LeaderBeacon{Term: 1})
	ctx, poll, _ := l.begin(t.Context())
	l.beacon(&kilnv1.LeaderBeacon{Term: 1})
	if ctx.Err() != nil {
		t.Fatal("the same leader ends the poll")
	}
	l.beacon(&kilnv1.LeaderBeacon{Term: 2})
	if !errors.Is(context.Cause(ctx), errNewLeader) {
		t.Fatal("another leader does not end the poll")
	}
	if term, next, polls := l.now(); term != 2 || next != poll+1 || len(polls) != 1 {
		t.Errorf("term %d, next %d and polls %v while the poll is not taken up, want 2, %d and one", term, next, polls, poll+1)
	}
	l.end(poll, false)
	if _, _, polls := l.now(); len(polls) != 0 {
		t.Errorf("polls %v after the end", polls)
	}
	select {
	case <-l.beat:
	default:
		t.Error("the next heartbeat waits")
	}
}

func TestALeaderOfThePastIsNotHeard(t *testing.T) {
	l := newLink()
	l.beacon(&kilnv1.LeaderBeacon{Term: 5})
	l.beacon(&kilnv1.LeaderBeacon{Term: 4})
	if term, _, _ := l.now(); term != 5 {
		t.Errorf("term %d, want 5", term)
	}
}

func TestAPollThatTheLeaderDoesNotHaveTwiceIsLost(t *testing.T) {
	l := newLink()
	kept, keptPoll, _ := l.begin(t.Context())
	lost, lostPoll, _ := l.begin(t.Context())
	l.unknown([]uint64{keptPoll, lostPoll}) // they may be on their way
	if kept.Err() != nil || lost.Err() != nil {
		t.Fatal("a poll is given up at once")
	}
	l.unknown([]uint64{lostPoll})
	if kept.Err() != nil || !errors.Is(context.Cause(lost), errNewLeader) {
		t.Errorf("the one that is there: %v, the lost one: %v", kept.Err(), context.Cause(lost))
	}
}
