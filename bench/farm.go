package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/lab"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

const (
	coordinators = 3
	farmTimeout  = 5 * time.Minute // for one build
)

// farmBench is a farm of processes: coordinators with durable logs, and builders that are this program again.
type farmBench struct {
	*lab.Farm
	dir     string
	store   *disk.Store // a directory that all share, so that the scheduler is measured and not a store
	workers []*worker
	client  kilnv1connect.FarmServiceClient
}

func newFarmBench(ctx context.Context, o options, name string) (*farmBench, error) {
	dir := filepath.Join(o.work, name)
	shared := filepath.Join(dir, "cache")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	store, err := disk.Open(shared)
	if err != nil {
		return nil, err
	}
	farm, err := lab.New(ctx, lab.Options{Kiln: o.kiln, Dir: dir, Name: "bench", Coordinators: coordinators})
	if err != nil {
		return nil, err
	}
	f := &farmBench{Farm: farm, dir: dir, store: store}
	for _, c := range farm.Coordinators() {
		c.Args = append(c.Args, "--cache", shared)
	}
	if err = farm.Start(ctx); err == nil {
		err = farm.Await(ctx)
	}
	if err == nil {
		err = f.connect(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// connect makes the client ask the leader, so that no time goes into forwarding.
func (f *farmBench) connect(ctx context.Context) error {
	lead, err := f.Leader(ctx)
	if err != nil {
		return err
	}
	f.client, err = f.API(lead)
	return err
}

func (f *farmBench) close() error {
	for _, w := range f.workers {
		w.close()
	}
	return f.Farm.Close()
}

// work starts n builder processes with that many slots each; each step waits.
func (f *farmBench) work(n, slots int, wait time.Duration) error {
	for _, w := range f.workers {
		w.close()
	}
	f.workers = nil
	for i := range n {
		w, err := startWorker(f, fmt.Sprintf("w%d-%s", i, uuid.NewString()[:8]), slots, wait)
		if err != nil {
			return err
		}
		f.workers = append(f.workers, w)
	}
	return nil
}

// put stores a blob and returns its digest.
func (f *farmBench) put(ctx context.Context, data []byte) (cache.Digest, error) {
	draft, err := f.store.Create(ctx)
	if err != nil {
		return cache.Digest{}, err
	}
	defer draft.Abort()
	if _, err := draft.Write(data); err != nil {
		return cache.Digest{}, err
	}
	d, _, err := draft.Commit()
	return d, err
}

// spec is a build whose plan is the graph: its name says which blob that is, for the bench's plan step.
func (f *farmBench) spec(ctx context.Context, graph *kilnv1.Graph) (*kilnv1.BuildSpec, error) {
	encoded, err := (proto.MarshalOptions{Deterministic: true}).Marshal(graph)
	if err != nil {
		return nil, err
	}
	plan, err := f.put(ctx, encoded)
	if err != nil {
		return nil, err
	}
	config, err := f.put(ctx, []byte("config of "+plan.String()))
	if err != nil {
		return nil, err
	}
	return &kilnv1.BuildSpec{
		Id: uuid.Must(uuid.NewV7()).String(), Team: "bench", Name: plan.String(), Config: config.String(),
		Platforms: []string{"linux/amd64"}, Formats: []string{"tar"}, Detached: true,
	}, nil
}

// build submits a build and returns how long it took until its end was told.
func (f *farmBench) build(ctx context.Context, spec *kilnv1.BuildSpec) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, farmTimeout)
	defer cancel()
	begun := time.Now()
	if _, err := f.client.Submit(ctx, connect.NewRequest(&kilnv1.SubmitRequest{Spec: spec})); err != nil {
		return 0, err
	}
	stream, err := f.client.Watch(ctx, connect.NewRequest(&kilnv1.WatchRequest{Id: spec.GetId()}))
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	for stream.Receive() {
		switch s := stream.Msg().GetEvent().GetState(); s.GetState() {
		case kilnv1.BuildState_BUILD_STATE_DONE:
			return time.Since(begun), nil
		case kilnv1.BuildState_BUILD_STATE_FAILED, kilnv1.BuildState_BUILD_STATE_CANCELED:
			return 0, fmt.Errorf("the build ended: %s", s.GetError())
		}
	}
	return 0, fmt.Errorf("the build's events ended early: %w", stream.Err())
}

// run builds a new graph once.
func (f *farmBench) run(ctx context.Context, graph *kilnv1.Graph) (time.Duration, error) {
	spec, err := f.spec(ctx, graph)
	if err != nil {
		return 0, err
	}
	return f.build(ctx, spec)
}

// grid is a graph of chains of steps; long 1 gives steps that need nothing of each other.
func grid(chains, long int) *kilnv1.Graph {
	g := &kilnv1.Graph{}
	run := uuid.NewString()
	for c := range chains {
		for n := range long {
			node := benchNode(run, c*long+n)
			if n > 0 {
				node.Inputs = []*kilnv1.Input{{Name: "tree", From: &kilnv1.Input_Output{Output: &kilnv1.NodeOutput{Node: uint32(c*long + n - 1), Name: "segment"}}}}
			}
			g.Nodes = append(g.Nodes, node)
		}
	}
	return g
}

// memory is the resident set of the leader, in MiB (proc(5), VmRSS).
func (f *farmBench) memory(ctx context.Context) (float64, error) {
	lead, err := f.Leader(ctx)
	if err != nil {
		return 0, err
	}
	data, err := os.ReadFile("/proc/" + strconv.Itoa(lead.Pid()) + "/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	return kib / 1024, err
}

// measureFarm measures three coordinator processes with durable logs on this disk.
func measureFarm(ctx context.Context, o options) ([]table, error) {
	f, err := newFarmBench(ctx, o, "farm")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.close() }() // the figures are there
	t := table{Title: "Scheduler: three coordinator processes with fsync, builders in processes of their own", Columns: []string{"figure"}}
	for _, part := range []func(context.Context, *table) error{f.latency, f.saturated, f.inFlight, f.scaling, f.cached, f.storm} {
		if err := part(ctx, &t); err != nil {
			return nil, err
		}
	}
	return []table{t}, nil
}

// latency: chains of steps that wait 100 ms each, a hundred at a time, are about 1,000 steps a second.
func (f *farmBench) latency(ctx context.Context, t *table) error {
	if err := f.work(2, 64, 100*time.Millisecond); err != nil {
		return err
	}
	took, err := f.run(ctx, grid(110, 82)) // more than the leases that the status tells of
	if err != nil {
		return err
	}
	s, err := f.Status(ctx)
	if err != nil {
		return err
	}
	rate := 110 * 82 / took.Seconds()
	p50, p99 := float64(s.GetLeaseP50Us())/1000, float64(s.GetLeaseP99Us())/1000
	t.add(fmt.Sprintf("ready to durably leased at %.0f steps/s, p50", rate), map[string]float64{"p50_ms": p50, "steps_per_s": rate}, fmt.Sprintf("%.2f ms", p50))
	t.add("the same, p99", map[string]float64{"p99_ms": p99}, fmt.Sprintf("%.2f ms", p99))
	return nil
}

func (f *farmBench) saturated(ctx context.Context, t *table) error {
	if err := f.work(2, 256, 0); err != nil {
		return err
	}
	best := 0.0
	for range 3 {
		took, err := f.run(ctx, grid(wideSteps, 1))
		if err != nil {
			return err
		}
		best = max(best, wideSteps/took.Seconds())
	}
	t.add(fmt.Sprintf("%d independent steps, saturated, from submit to the end (best of 3)", wideSteps), map[string]float64{"steps_per_s": best}, fmt.Sprintf("%.0f steps/s", best))
	return nil
}

// inFlight holds 10,000 steps in leases and looks at the leader's memory.
func (f *farmBench) inFlight(ctx context.Context, t *table) error {
	if err := f.work(2, wideSteps/2, 3*time.Second); err != nil {
		return err
	}
	done := make(chan error, 1)
	spec, err := f.spec(ctx, grid(wideSteps, 1))
	if err != nil {
		return err
	}
	go func() {
		_, err := f.build(ctx, spec)
		done <- err
	}()
	most, leased := 0.0, uint32(0)
	for {
		select {
		case err := <-done:
			t.add(fmt.Sprintf("memory of the leader with %d steps leased", leased), map[string]float64{"rss_mib": most, "leased": float64(leased)}, fmt.Sprintf("%.0f MiB", most))
			return err
		case <-time.After(100 * time.Millisecond):
		}
		s, err := f.Status(ctx)
		if err != nil {
			continue // busy
		}
		leased = max(leased, s.GetLeased())
		if m, err := f.memory(ctx); err == nil {
			most = max(most, m)
		}
	}
}

func (f *farmBench) scaling(ctx context.Context, t *table) error {
	const slots, wait, rounds = 4, 20 * time.Millisecond, 100
	var one float64
	for _, n := range []int{1, 2, 4, 8} {
		if err := f.work(n, slots, wait); err != nil {
			return err
		}
		steps := n * slots * rounds
		took, err := f.run(ctx, grid(steps, 1))
		if err != nil {
			return err
		}
		rate := float64(steps) / took.Seconds()
		if n == 1 {
			one = rate
		}
		linear := rate / (one * float64(n))
		t.add(fmt.Sprintf("%d builders of %d slots, steps of %s", n, slots, wait), map[string]float64{"steps_per_s": rate, "of_linear": linear},
			fmt.Sprintf("%.0f steps/s, %.2f × linear", rate, linear))
	}
	return nil
}

// outputName is the one output of a step of that kind that the bench's steps give.
func outputName(kind string) string {
	switch kind {
	case step.Resolve:
		return "lock"
	case step.Plan:
		return "graph"
	}
	return "segment"
}
