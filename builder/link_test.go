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
	ctx, poll := l.begin(t.Context())
	l.beacon(&kilnv1.LeaderBeacon{Term: 1})
	if ctx.Err() != nil {
		t.Fatal("the same leader ends the poll")
	}
	l.beacon(&kilnv1.LeaderBeacon{Term: 2})
	if !errors.Is(context.Cause(ctx), errNewLeader) {
		t.Fatal("another leader does not end the poll")
	}
	if term, now := l.now(); term != 2 || now != poll {
		t.Errorf("term %d and poll %d while the poll is not taken up, want 2 and %d", term, now, poll)
	}
	l.end(false)
	if _, now := l.now(); now != poll+1 {
		t.Errorf("poll %d after the end, want %d", now, poll+1)
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
	if term, _ := l.now(); term != 5 {
		t.Errorf("term %d, want 5", term)
	}
}
