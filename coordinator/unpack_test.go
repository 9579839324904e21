package coordinator

import (
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// A builder is told what an image may unpack to for the teams whose builds wait for it. Where there are several, the
// wider limits count: one team's are no reason to fail another one's build.
func TestABuilderIsToldTheLimitsOfTheTeamsThatWait(t *testing.T) {
	f := newFarm(t, "")
	admin := &admin{f.coord}
	for team, unpack := range map[string]*kilnv1.UnpackLimits{"team": {Bytes: 5, Ratio: 1000}, "other": {Bytes: 7, Ratio: 2}} {
		if _, err := admin.SetTeam(f.ctx(), connect.NewRequest(&kilnv1.SetTeamRequest{Team: &kilnv1.Team{Name: team, Weight: 100, Unpack: unpack}})); err != nil {
			t.Fatal(err)
		}
	}
	_, err := admin.SetTeam(f.ctx(), connect.NewRequest(&kilnv1.SetTeamRequest{Team: &kilnv1.Team{Name: "team", Weight: 100, Unpack: &kilnv1.UnpackLimits{Files: -1}}}))
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a negative limit: %v", err)
	}
	g := chain(2, "unpack")
	g.Nodes[0].Kind, g.Nodes[0].Version = step.Flatten, step.Versions[step.Flatten]
	// The wider of both, once both wait; before that, those of whichever came first.
	wider := &kilnv1.UnpackLimits{Bytes: 7, Files: 10_000_000, Ratio: 1000}
	alone := []*kilnv1.UnpackLimits{{Bytes: 5, Files: 10_000_000, Ratio: 1000}, {Bytes: 7, Files: 10_000_000, Ratio: 2}}
	var told []*kilnv1.UnpackLimits
	again := true
	f.builder("b", g, func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
		if l.Node.Kind != step.Flatten {
			if l.Unpack != nil {
				t.Errorf("%s has limits of unpacking", l.Node.Label)
			}
			return nil
		}
		told = append(told, l.Unpack)
		both := false
		f.coord.fsm.View(func(m *state.Machine) { both = len(m.Task(l.Task).Waiters) == 2 })
		if both && again && !proto.Equal(l.Unpack, wider) {
			both, again = false, false // the second came after this lease, and before the next one
		}
		if !both {
			return &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_INFRA, Error: "the other build is not here yet"}
		}
		return nil
	})
	first, second := f.spec(), f.spec()
	second.Team = "other"
	f.submit(first)
	f.submit(second)
	for _, id := range []string{first.Id, second.Id} {
		wantState(t, f.watch(id, 0), kilnv1.BuildState_BUILD_STATE_DONE)
	}
	if len(told) == 0 || !proto.Equal(told[len(told)-1], wider) {
		t.Errorf("told %v, want %v in the end", told, wider)
	}
	for _, l := range told {
		if !proto.Equal(l, wider) && !proto.Equal(l, alone[0]) && !proto.Equal(l, alone[1]) {
			t.Errorf("told %v", l)
		}
	}
}
