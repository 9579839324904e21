package coordinator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/dispatch"
	"github.com/kiln-farm/kiln/internal/bus"
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

func TestTwoBuildsShareTheirSteps(t *testing.T) {
	f := newFarm(t, "")
	first, second := f.submit(f.spec()), f.submit(f.spec())
	b := f.builder("b", chain(5, ""), nil)
	wantState(t, f.watch(first, 0), kilnv1.BuildState_BUILD_STATE_DONE)
	wantState(t, f.watch(second, 0), kilnv1.BuildState_BUILD_STATE_DONE)
	for i := range 5 {
		if n := b.ran(fmt.Sprint("step ", i)); n != 1 {
			t.Errorf("step %d ran %d times", i, n)
		}
	}
}

func TestResultsOfAnotherPlanAreHits(t *testing.T) {
	f := newFarm(t, "")
	b := f.builder("b", chain(4, ""), nil)
	wantState(t, f.watch(f.submit(f.spec()), 0), kilnv1.BuildState_BUILD_STATE_DONE)
	f.close()
	b.graph = chain(5, "") // the first four steps are the same
	f.start()
	spec := f.spec()
	spec.Formats = []string{"docker"}
	s := f.watch(f.submit(spec), 0)
	wantState(t, s, kilnv1.BuildState_BUILD_STATE_DONE)
	for i := range uint32(5) {
		want := kilnv1.NodeState_NODE_STATE_HIT
		if i == 4 {
			want = kilnv1.NodeState_NODE_STATE_DONE
		}
		if got := s.nodes[i]; len(got) == 0 || got[len(got)-1] != want {
			t.Errorf("node %d: %v, want %v", i, got, want)
		}
	}
	if b.ran("step 0") != 1 || b.ran("step 4") != 1 {
		t.Errorf("step 0 ran %d times, step 4 %d times; want once each", b.ran("step 0"), b.ran("step 4"))
	}
}

func TestAHitWithoutItsBlobsIsAMiss(t *testing.T) {
	f := newFarm(t, "")
	b := f.builder("b", chain(3, ""), nil)
	s := f.watch(f.submit(f.spec()), 0)
	gone, err := cache.ParseDigest(s.last.Outputs[0].Artifact)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.dir.Delete(f.ctx(), cache.BlobKey(gone)); err != nil {
		t.Fatal(err)
	}
	wantState(t, f.watch(f.submit(f.spec()), 0), kilnv1.BuildState_BUILD_STATE_DONE)
	if b.ran("step 1") != 1 || b.ran("step 2") != 2 {
		t.Errorf("step 1 ran %d times, step 2 %d times; want 1 and 2", b.ran("step 1"), b.ran("step 2"))
	}
}

func TestAStepWhoseBuilderIsLostRunsAgain(t *testing.T) {
	f := newFarm(t, "")
	dead := make(chan struct{})
	b := f.builder("dies", chain(3, ""), func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
		if l.Node.Label == "step 1" && l.Attempt == 1 {
			close(dead)
			return lost
		}
		return nil
	})
	id := f.submit(f.spec())
	<-dead
	l, _ := f.coord.current()
	for leased := 0; leased == 0; leased, _ = l.dispatch.Leases.Count() {
		time.Sleep(time.Millisecond)
	}
	l.dispatch.Expire(time.Now().Add(dispatch.LeaseTTL + dispatch.LeaseGrace + time.Second))
	s := f.watch(id, 0)
	wantState(t, s, kilnv1.BuildState_BUILD_STATE_DONE)
	want := []kilnv1.NodeState{kilnv1.NodeState_NODE_STATE_RUNNING, kilnv1.NodeState_NODE_STATE_RETRY, kilnv1.NodeState_NODE_STATE_RUNNING, kilnv1.NodeState_NODE_STATE_DONE}
	if !slices.Equal(s.nodes[1], want) {
		t.Errorf("step 1 went through %v, want %v", s.nodes[1], want)
	}
	if b.ran("step 1") != 2 {
		t.Errorf("step 1 ran %d times", b.ran("step 1"))
	}
}

func TestAMissingInputMakesItsProducerRunAgain(t *testing.T) {
	f := newFarm(t, "")
	var once sync.Once
	b := f.builder("b", chain(3, ""), func(l *kilnv1.Lease) (done *kilnv1.CompleteRequest) {
		if l.Node.Label == "step 2" {
			once.Do(func() {
				done = &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_INPUT_MISSING, Missing: l.Node.Inputs[0].GetDigest()}
			})
		}
		return done
	})
	wantState(t, f.watch(f.submit(f.spec()), 0), kilnv1.BuildState_BUILD_STATE_DONE)
	if b.ran("step 1") != 2 || b.ran("step 0") != 1 || b.ran("step 2") != 2 {
		t.Errorf("runs: %v", b.runs)
	}
}

func TestAFailedStepFailsTheBuildWithItsSentence(t *testing.T) {
	f := newFarm(t, "")
	b := f.builder("b", chain(3, ""), func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
		if l.Node.Label == "step 1" {
			return &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_FAILED, Error: "no such file"}
		}
		return nil
	})
	id := f.submit(f.spec())
	s := f.watch(id, 0)
	wantState(t, s, kilnv1.BuildState_BUILD_STATE_FAILED)
	if got, want := s.last.Error, "step 1: no such file"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if b.ran("step 2") != 0 {
		t.Error("a step ran whose input failed")
	}
}

func TestAGraphThatIsNotValidFailsTheBuild(t *testing.T) {
	f := newFarm(t, "")
	g := chain(3, "")
	g.Nodes[1].Kind = "mystery"
	f.builder("b", g, nil)
	s := f.watch(f.submit(f.spec()), 0)
	wantState(t, s, kilnv1.BuildState_BUILD_STATE_FAILED)
	if !strings.Contains(s.last.Error, `step 1 ("step 1"): unknown kind "mystery"`) {
		t.Errorf("got %q", s.last.Error)
	}
}

func TestACanceledBuildStopsItsStep(t *testing.T) {
	f := newFarm(t, "")
	stopped := make(chan *kilnv1.LeaseRef, 1)
	sub, err := bus.Subscribe(f.nc, bus.For("kiln").Stop("b"), func(_ context.Context, ref *kilnv1.LeaseRef) { stopped <- ref })
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	running := make(chan *kilnv1.Lease, 1)
	f.builder("b", chain(3, ""), func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
		if l.Node.Label == "step 1" {
			running <- l
			return lost
		}
		return nil
	})
	id := f.submit(f.spec())
	lease := <-running
	if _, err := f.client.Cancel(f.ctx(), connect.NewRequest(&kilnv1.CancelRequest{Id: id, Reason: "enough"})); err != nil {
		t.Fatal(err)
	}
	if ref := <-stopped; ref.Number != lease.Number {
		t.Errorf("lease %d was to stop, want %d", ref.Number, lease.Number)
	}
	s := f.watch(id, 0)
	wantState(t, s, kilnv1.BuildState_BUILD_STATE_CANCELED)
	if s.last.Error != "enough" {
		t.Errorf("got %q", s.last.Error)
	}
	// A builder that missed the message learns it from its next heartbeat.
	reply := &kilnv1.HeartbeatReply{}
	held := []*kilnv1.LeaseRef{{Epoch: lease.Epoch, Number: lease.Number, Task: lease.Task}}
	if err := bus.Request(f.ctx(), f.nc, bus.For("kiln").Heartbeat("b"), &kilnv1.HeartbeatRequest{Builder: &kilnv1.BuilderInfo{Id: "b", Session: "1"}, Leases: held}, reply); err != nil {
		t.Fatal(err)
	}
	if len(reply.Stop) != 1 {
		t.Errorf("the heartbeat says to stop %v", reply.Stop)
	}
}

func TestADurableCoordinatorGoesOnAfterARestart(t *testing.T) {
	f := newFarm(t, t.TempDir())
	held := make(chan *kilnv1.Lease, 1)
	b := f.builder("b", chain(4, ""), func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
		if l.Node.Label == "step 2" && l.Attempt == 1 {
			held <- l
			return lost
		}
		return nil
	})
	id := f.submit(f.spec())
	lease := <-held
	f.close()
	f.start()
	// The builder worked on meanwhile, and its lease is still good.
	done := b.step(&kilnv1.Lease{Node: &kilnv1.Node{Kind: "segment"}, Task: lease.Task})
	done.Builder, done.Epoch, done.Number, done.Task = "b", lease.Epoch, lease.Number, lease.Task
	reply := &kilnv1.CompleteReply{}
	if err := bus.Request(f.ctx(), f.nc, bus.For("kiln").Complete("b"), done, reply); err != nil {
		t.Fatal(err)
	}
	if !reply.Accepted {
		t.Error("a lease did not outlive the restart")
	}
	s := f.watch(id, 1000)
	wantState(t, s, kilnv1.BuildState_BUILD_STATE_DONE)
	if b.ran("step 0") != 1 || b.ran("step 2") != 1 {
		t.Errorf("runs: %v", b.runs)
	}
}

func TestLogLinesReachTheWatcher(t *testing.T) {
	f := newFarm(t, "")
	f.builder("b", chain(2, ""), func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
		if l.Node.Kind == "segment" {
			chunk := &kilnv1.LogChunk{Task: l.Task, Number: l.Number, Lines: []string{"hello from " + l.Node.Label}}
			if err := bus.Publish(context.Background(), f.nc, bus.For("kiln").Log("b", l.Task), chunk); err != nil {
				t.Error(err)
			}
			stale := &kilnv1.LogChunk{Task: l.Task, Number: l.Number + 1000, Lines: []string{"stale"}}
			if err := bus.Publish(context.Background(), f.nc, bus.For("kiln").Log("b", l.Task), stale); err != nil {
				t.Error(err)
			}
			if err := f.nc.Flush(); err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Millisecond) // logs and completions travel apart
		}
		return nil
	})
	var lines []string
	for _, e := range f.watch(f.submit(f.spec()), 0).events {
		lines = append(lines, e.GetLog().GetLines()...)
	}
	if want := []string{"hello from step 0", "hello from step 1"}; !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

func TestADataDirectoryHasOneCoordinator(t *testing.T) {
	f := newFarm(t, t.TempDir())
	_, err := New(Config{Store: f.dir, Blobs: f.dir, Bus: f.nc, DataDir: f.data})
	if err == nil || !strings.Contains(err.Error(), "another coordinator is using it") {
		t.Errorf("got %v", err)
	}
}

// Builds that come while others of the same plan are answered must not be forgotten.
func TestManyBuildsOfOneKnownPlanAllEnd(t *testing.T) {
	f := newFarm(t, "")
	f.builder("b", chain(5, "storm"), nil)
	wantState(t, f.watch(f.submit(f.spec()), 0), kilnv1.BuildState_BUILD_STATE_DONE)
	var clients sync.WaitGroup
	for range 64 {
		clients.Go(func() {
			for range 5 {
				spec := f.spec()
				if _, err := f.client.Submit(f.ctx(), connect.NewRequest(&kilnv1.SubmitRequest{Spec: spec})); err != nil {
					t.Error(err)
					return
				}
				stream, err := f.client.Watch(f.ctx(), connect.NewRequest(&kilnv1.WatchRequest{Id: spec.Id}))
				if err != nil {
					t.Error(err)
					return
				}
				var last kilnv1.BuildState
				for stream.Receive() {
					last = max(last, stream.Msg().GetEvent().GetState().GetState())
				}
				stream.Close()
				if last != kilnv1.BuildState_BUILD_STATE_DONE {
					t.Errorf("a build ended as %v: %v", last, stream.Err())
					return
				}
			}
		})
	}
	clients.Wait()
}
