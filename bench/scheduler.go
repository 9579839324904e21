package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/coordinator"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

const (
	wideSteps  = 10_000 // steps that need nothing of each other
	chainSteps = 1_000  // steps that each need the one before
	slots      = 256    // of the builder that takes them all
)

// measureScheduler measures a coordinator with a durable log on this disk, and a builder that does nothing but answer.
func measureScheduler(ctx context.Context, o options) ([]table, error) {
	t := table{Title: "Scheduler: one coordinator, durable log, a builder that answers at once", Columns: []string{"figure"}}
	for _, durable := range []bool{true, false} {
		dir := ""
		kind := "in memory"
		if durable {
			dir, kind = filepath.Join(o.work, "raft"), "durable"
		}
		f, err := newBenchFarm(ctx, o, dir)
		if err != nil {
			return nil, err
		}
		wide, err := f.build(ctx, wideGraph())
		if err == nil {
			rate := float64(wideSteps) / wide.took.Seconds()
			t.add(kind+": independent steps to their end", map[string]float64{"steps_per_s": rate}, fmt.Sprintf("%.0f steps/s", rate))
			var chain outcome
			if chain, err = f.build(ctx, chainGraph()); err == nil {
				p50, p99 := quantile(chain.gaps, 0.50), quantile(chain.gaps, 0.99)
				t.add(kind+": completion sent to the next step's lease received (two commits), p50", map[string]float64{"p50_ms": ms(p50)}, fmt.Sprintf("%.2f ms", ms(p50)))
				t.add(kind+": the same, p99", map[string]float64{"p99_ms": ms(p99)}, fmt.Sprintf("%.2f ms", ms(p99)))
			}
		}
		f.close()
		if err != nil {
			return nil, err
		}
	}
	return []table{t}, nil
}

type benchFarm struct {
	store  *disk.Store
	bus    *bus.Server
	conn   *nats.Conn
	coord  *coordinator.Coordinator
	api    *httptest.Server
	client kilnv1connect.FarmServiceClient
}

func newBenchFarm(ctx context.Context, o options, dataDir string) (*benchFarm, error) {
	root, err := os.MkdirTemp(o.work, "scheduler")
	if err != nil {
		return nil, err
	}
	f := &benchFarm{}
	if f.store, err = disk.Open(root); err != nil {
		return nil, err
	}
	if f.bus, err = bus.Start(bus.Options{}); err != nil {
		return nil, err
	}
	if f.conn, err = f.bus.Connect("bench"); err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	f.coord, err = coordinator.New(coordinator.Config{Farm: "bench", Store: f.store, Blobs: f.store, Bus: f.conn, DataDir: dataDir, Log: quiet})
	if err != nil {
		return nil, err
	}
	f.api = httptest.NewServer(f.coord.Handler())
	f.client = kilnv1connect.NewFarmServiceClient(http.DefaultClient, f.api.URL)
	return f, f.coord.Ready(ctx)
}

func (f *benchFarm) close() {
	f.api.Close()
	f.coord.Close()
	f.conn.Close()
	f.bus.Close()
}

type outcome struct {
	took time.Duration
	gaps []time.Duration
}

// build submits a build whose plan is the graph, and answers every lease.
func (f *benchFarm) build(ctx context.Context, graph *kilnv1.Graph) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	encoded, err := proto.Marshal(graph)
	if err != nil {
		return outcome{}, err
	}
	plan, err := f.put(ctx, encoded)
	if err != nil {
		return outcome{}, err
	}
	blob, err := f.put(ctx, []byte(uuid.NewString()))
	if err != nil {
		return outcome{}, err
	}
	answering := &answers{f: f, plan: plan, blob: blob, size: int64(len(encoded))}
	run, stop := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() { answering.run(run) })
	}
	defer workers.Wait()
	defer stop()

	id := uuid.Must(uuid.NewV7()).String()
	spec := &kilnv1.BuildSpec{Id: id, Team: "bench", Name: "bench", Config: blob.String(), Platforms: []string{"linux/amd64"}, Formats: []string{"tar"}, Options: &kilnv1.BuildOptions{Compress: "gzip"}}
	if _, err := f.client.Submit(ctx, connect.NewRequest(&kilnv1.SubmitRequest{Spec: spec})); err != nil {
		return outcome{}, err
	}
	stream, err := f.client.Watch(ctx, connect.NewRequest(&kilnv1.WatchRequest{Id: id}))
	if err != nil {
		return outcome{}, err
	}
	defer stream.Close()
	for stream.Receive() {
		switch state := stream.Msg().GetEvent().GetState(); state.GetState() {
		case kilnv1.BuildState_BUILD_STATE_DONE:
			return answering.outcome(), nil
		case kilnv1.BuildState_BUILD_STATE_FAILED, kilnv1.BuildState_BUILD_STATE_CANCELED:
			return outcome{}, fmt.Errorf("the build ended: %s", state.GetError())
		}
	}
	return outcome{}, fmt.Errorf("the build's events ended early: %w", stream.Err())
}

func (f *benchFarm) put(ctx context.Context, b []byte) (cache.Digest, error) {
	draft, err := f.store.Create(ctx)
	if err != nil {
		return cache.Digest{}, err
	}
	defer draft.Abort()
	if _, err := draft.Write(b); err != nil {
		return cache.Digest{}, err
	}
	d, _, err := draft.Commit()
	return d, err
}

// answers completes every lease at once: resolve and plan with what the build is to be, other steps with a blob that is there.
type answers struct {
	f          *benchFarm
	plan, blob cache.Digest
	size       int64

	mu          sync.Mutex
	first, last time.Time
	sent        time.Time // when the latest completion of a step went out
	gaps        []time.Duration
}

func (a *answers) run(ctx context.Context) {
	subjects := bus.For("bench")
	info := &kilnv1.BuilderInfo{Id: "bench-" + uuid.NewString(), Session: "1", Slots: slots}
	for kind, version := range step.Versions {
		info.Kinds = append(info.Kinds, &kilnv1.StepKind{Kind: kind, Version: version})
	}
	var completions sync.WaitGroup
	defer completions.Wait()
	credits := make(chan struct{}, slots)
	for ctx.Err() == nil {
		credits <- struct{}{}
		free := cap(credits) - len(credits) + 1
		var reply kilnv1.LeaseReply
		err := bus.Request(ctx, a.f.conn, subjects.Lease(info.Id), &kilnv1.LeaseRequest{Builder: info, Credits: uint32(free), WaitMs: 1000}, &reply)
		<-credits
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		got := time.Now()
		for _, lease := range reply.GetLeases() {
			a.leased(lease, got)
			credits <- struct{}{}
			completions.Go(func() {
				defer func() { <-credits }()
				a.complete(ctx, subjects, info, lease)
			})
		}
	}
}

func (a *answers) leased(lease *kilnv1.Lease, at time.Time) {
	if lease.GetNode().GetKind() != step.Segment {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.first.IsZero() {
		a.first = at
	} else if !a.sent.IsZero() {
		a.gaps = append(a.gaps, at.Sub(a.sent))
	}
}

func (a *answers) complete(ctx context.Context, subjects bus.Subjects, info *kilnv1.BuilderInfo, lease *kilnv1.Lease) {
	name, digest, size := "segment", a.blob, int64(1)
	switch lease.GetNode().GetKind() {
	case step.Resolve:
		name = "lock"
	case step.Plan:
		name, digest, size = "graph", a.plan, a.size
	}
	req := &kilnv1.CompleteRequest{Builder: info.Id, Session: "1", Epoch: lease.GetEpoch(), Number: lease.GetNumber(), Task: lease.GetTask(),
		Completion: kilnv1.Completion_COMPLETION_DONE, Outputs: []*kilnv1.Output{{Name: name, Digest: digest.String(), Size: size}}, References: []string{digest.String()}}
	isStep := lease.GetNode().GetKind() == step.Segment
	if isStep {
		a.mu.Lock()
		a.sent = time.Now()
		a.mu.Unlock()
	}
	var reply kilnv1.CompleteReply
	if err := bus.Request(ctx, a.f.conn, subjects.Complete(info.Id), req, &reply); err == nil && isStep {
		a.mu.Lock()
		a.last = time.Now()
		a.mu.Unlock()
	}
}

func (a *answers) outcome() outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	return outcome{took: a.last.Sub(a.first), gaps: slices.Clone(a.gaps)}
}

func wideGraph() *kilnv1.Graph {
	g := &kilnv1.Graph{}
	run := uuid.NewString()
	for n := range wideSteps {
		g.Nodes = append(g.Nodes, benchNode(run, n))
	}
	return g
}

func chainGraph() *kilnv1.Graph {
	g := &kilnv1.Graph{}
	run := uuid.NewString()
	for n := range chainSteps {
		node := benchNode(run, n)
		if n > 0 {
			node.Inputs = []*kilnv1.Input{{Name: "tree", From: &kilnv1.Input_Output{Output: &kilnv1.NodeOutput{Node: uint32(n - 1), Name: "segment"}}}}
		}
		g.Nodes = append(g.Nodes, node)
	}
	return g
}

func benchNode(run string, n int) *kilnv1.Node {
	return &kilnv1.Node{Kind: step.Segment, Version: step.Versions[step.Segment], Params: []byte(`{"run":"` + run + `","n":` + strconv.Itoa(n) + `}`), Label: strconv.Itoa(n)}
}

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(q*float64(len(d))), len(d)-1)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
