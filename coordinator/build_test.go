package coordinator

import (
	"testing"

	"connectrpc.com/connect"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func wantState(t *testing.T, s *seen, want kilnv1.BuildState) {
	t.Helper()
	if s.last.GetState() != want {
		t.Fatalf("the build ended as %v (%s), want %v", s.last.GetState(), s.last.GetError(), want)
	}
}

func TestABuildRunsToItsEnd(t *testing.T) {
	f := newFarm(t, "")
	b := f.builder("b", chain(5, ""), nil)
	id := f.submit(f.spec())
	s := f.watch(id, 0)
	wantState(t, s, kilnv1.BuildState_BUILD_STATE_DONE)
	if b.total() != 7 {
		t.Errorf("%d steps ran, want resolve, plan and 5", b.total())
	}
	if len(s.last.Outputs) != 1 || s.last.Outputs[0].File != ".tar" || s.last.Outputs[0].Size == 0 {
		t.Errorf("outputs: %v", s.last.Outputs)
	}
	r, err := f.client.GetBuild(f.ctx(), connect.NewRequest(&kilnv1.GetBuildRequest{Team: "team", Id: id}))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(r.Msg.Build.Nodes); got != 5 {
		t.Errorf("the record has %d nodes, want 5", got)
	}
	if again := f.watch(id, 3); len(again.events) != len(s.events)-3 {
		t.Errorf("watching after 3 gives %d events, want %d", len(again.events), len(s.events)-3)
	}
}

func TestAnUnchangedBuildIsOneLookUp(t *testing.T) {
	f := newFarm(t, "")
	b := f.builder("b", chain(5, ""), nil)
	first := f.watch(f.submit(f.spec()), 0)
	f.close()
	f.start() // with an empty index
	before := b.total()
	second := f.watch(f.submit(f.spec()), 0)
	wantState(t, second, kilnv1.BuildState_BUILD_STATE_DONE)
	if ran := b.total() - before; ran != 1 {
		t.Errorf("%d steps ran, want the resolve alone", ran)
	}
	if got, want := second.last.Outputs[0].Digest, first.last.Outputs[0].Digest; got != want {
		t.Errorf("output %s, want %s", got, want)
	}
	for i := range uint32(5) {
		if got := second.nodes[i]; len(got) != 1 || got[0] != kilnv1.NodeState_NODE_STATE_HIT {
			t.Errorf("node %d: %v, want a hit", i, got)
		}
	}
}
