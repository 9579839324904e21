package coordinator

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestAFaultyBuilderIsHeldAndTheBuildGoesOn(t *testing.T) {
	f := newFarm(t, "")
	good := f.builder("good", chain(8, "q"), nil)
	f.builder("bad", chain(8, "q"), func(*kilnv1.Lease) *kilnv1.CompleteRequest {
		return &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_INFRA, Error: "no disk"}
	})
	held := func() string {
		res, err := f.client.Status(f.ctx(), connect.NewRequest(&kilnv1.StatusRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range res.Msg.GetWorkers() {
			if w.GetId() == "bad" {
				return w.GetHold()
			}
		}
		return ""
	}
	for i := 0; held() == "" && i < 20; i++ {
		g := chain(8, fmt.Sprint("q", i))
		good.mu.Lock()
		good.graph = g
		good.mu.Unlock()
		spec := f.spec()
		spec.Formats = []string{fmt.Sprint("tar", i)} // another plan
		wantState(t, f.watch(f.submit(spec), 0), kilnv1.BuildState_BUILD_STATE_DONE)
	}
	if text := held(); !strings.Contains(text, "that other builders then did") {
		t.Errorf("the hold is %q", text)
	}
}

func TestBuildsBeyondATeamsLimitWaitForTheirTurn(t *testing.T) {
	f := newFarm(t, "")
	admin := &admin{f.coord}
	if _, err := admin.SetTeam(f.ctx(), connect.NewRequest(&kilnv1.SetTeamRequest{Team: &kilnv1.Team{Name: "team", Weight: 100, MaxBuilds: 1}})); err != nil {
		t.Fatal(err)
	}
	first, second := f.spec(), f.spec()
	f.submit(first)
	f.submit(second)
	var reason string
	f.wait("the second build's step is in the queue", func() bool {
		res, err := f.client.Queue(f.ctx(), connect.NewRequest(&kilnv1.QueueRequest{Team: "team"}))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range res.Msg.GetSteps() {
			if s.GetBuild() == second.Id {
				reason = s.GetReason()
			}
		}
		return reason != ""
	})
	if !strings.Contains(reason, "waits for its turn") {
		t.Errorf("the reason is %q", reason)
	}
	if _, err := f.client.Cancel(context.Background(), connect.NewRequest(&kilnv1.CancelRequest{Id: first.Id})); err != nil {
		t.Fatal(err)
	}
	f.builder("b", chain(2, "turn"), nil)
	wantState(t, f.watch(second.Id, 0), kilnv1.BuildState_BUILD_STATE_DONE)
}
