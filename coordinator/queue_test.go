package coordinator

import (
	"testing"
	"time"

	"connectrpc.com/connect"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestTheQueueTellsWhyABuildStandsStill(t *testing.T) {
	f := newFarm(t, "")
	id := f.submit(f.spec())
	for {
		answer, err := f.client.Queue(f.ctx(), connect.NewRequest(&kilnv1.QueueRequest{Team: "team"}))
		if err != nil {
			t.Fatal(err)
		}
		if answer.Msg.GetTotal() == 0 {
			time.Sleep(time.Millisecond) // until its first step was looked up
			continue
		}
		s := answer.Msg.GetSteps()[0]
		if s.GetBuild() != id || s.GetName() != "name" || s.GetBuilds() != 1 || s.GetReason() != "no builder is connected" {
			t.Errorf("got %v", s)
		}
		break
	}
	status, err := f.client.Status(f.ctx(), connect.NewRequest(&kilnv1.StatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if teams := status.Msg.GetTeams(); len(teams) != 1 || teams[0].GetTeam().GetName() != "team" || teams[0].GetBuilds() != 1 || teams[0].GetReady() != 1 {
		t.Errorf("got teams %v", teams)
	}
}
