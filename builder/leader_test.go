package builder

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// patience is when a test gives up waiting; none of them waits for it when it passes.
const patience = 20 * time.Second

const farm = "test"

// leader is a leader as far as a builder can see one. Leases that are put into grants are given out.
type leader struct {
	t        *testing.T
	bus      *nats.Conn
	grants   chan []*kilnv1.Lease
	asked    chan *kilnv1.LeaseRequest
	reports  chan *kilnv1.CompleteRequest
	beats    chan *kilnv1.HeartbeatRequest
	released chan *kilnv1.ReleaseRequest
	logs     chan *kilnv1.LogChunk

	mu       sync.Mutex
	lose     int                // so many completions get no good answer
	stopping []*kilnv1.LeaseRef // for the answers to heartbeats
}

func newLeader(t *testing.T) *leader {
	t.Helper()
	server, err := bus.Start(bus.Options{})
	check(t, err)
	t.Cleanup(server.Close)
	conn, err := server.Connect("leader")
	check(t, err)
	t.Cleanup(conn.Close)
	l := &leader{t: t, grants: make(chan []*kilnv1.Lease, 16), asked: make(chan *kilnv1.LeaseRequest, 256), reports: make(chan *kilnv1.CompleteRequest, 256),
		beats: make(chan *kilnv1.HeartbeatRequest, 256), released: make(chan *kilnv1.ReleaseRequest, 16), logs: make(chan *kilnv1.LogChunk, 4096)}
	l.bus, err = server.Connect("builder")
	check(t, err)
	t.Cleanup(l.bus.Close)
	subjects := bus.For(farm)
	for _, serve := range []func() (*bus.Service, error){
		func() (*bus.Service, error) { return bus.Serve(conn, subjects.AllLeases(), 8, l.lease) },
		func() (*bus.Service, error) { return bus.Serve(conn, subjects.AllCompletes(), 8, l.complete) },
		func() (*bus.Service, error) { return bus.Serve(conn, subjects.AllHeartbeats(), 8, l.heartbeat) },
		func() (*bus.Service, error) { return bus.Serve(conn, subjects.AllReleases(), 8, l.release) },
		func() (*bus.Service, error) {
			return bus.Subscribe(conn, subjects.AllLogs(), func(_ context.Context, c *kilnv1.LogChunk) { l.logs <- c })
		},
	} {
		s, err := serve()
		check(t, err)
		t.Cleanup(s.Close)
	}
	return l
}

func (l *leader) lease(ctx context.Context, req *kilnv1.LeaseRequest) (*kilnv1.LeaseReply, error) {
	l.asked <- req
	select {
	case leases := <-l.grants:
		return &kilnv1.LeaseReply{Leases: leases}, nil
	case <-ctx.Done():
		return &kilnv1.LeaseReply{}, nil
	}
}

func (l *leader) complete(_ context.Context, req *kilnv1.CompleteRequest) (*kilnv1.CompleteReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reports <- req
	if l.lose > 0 {
		l.lose--
		return nil, errors.New("the answer was lost")
	}
	return &kilnv1.CompleteReply{Accepted: true}, nil
}

func (l *leader) heartbeat(_ context.Context, req *kilnv1.HeartbeatRequest) (*kilnv1.HeartbeatReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beats <- req
	return &kilnv1.HeartbeatReply{Stop: l.stopping}, nil
}

func (l *leader) release(_ context.Context, req *kilnv1.ReleaseRequest) (*kilnv1.ReleaseReply, error) {
	l.released <- req
	return &kilnv1.ReleaseReply{}, nil
}

// next is what comes out of a channel, or the end of the test.
func next[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("there was no %s", what)
		panic("unreachable")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// runner is a step.Runner in a function.
type runner func(ctx context.Context, req *step.Request) (*step.Response, error)

func (f runner) Run(ctx context.Context, req *step.Request) (*step.Response, error) {
	return f(ctx, req)
}

// fixture is a builder that runs, and what it needs.
type fixture struct {
	leader *leader
	store  *disk.Store
	drain  context.CancelFunc
	ended  chan error
}

// start runs a builder with run for flatten steps, until the test ends at the latest.
func start(t *testing.T, run runner, change func(*Config)) *fixture {
	t.Helper()
	store, err := disk.Open(t.TempDir())
	check(t, err)
	f := &fixture{leader: newLeader(t), store: store, ended: make(chan error, 1)}
	cfg := Config{Farm: farm, ID: "b1", Store: store, Blobs: store, Bus: f.leader.bus, Slots: 2, Grace: patience,
		Runners: map[string]step.Runner{step.Flatten: run}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if change != nil {
		change(&cfg)
	}
	b, err := New(cfg)
	check(t, err)
	ctx, drain := context.WithCancel(context.Background())
	f.drain = drain
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.ended <- b.Run(ctx)
	}()
	t.Cleanup(func() { drain(); <-done })
	return f
}

// grant gives the builder a lease on a flatten step with these inputs and returns it.
func (f *fixture) grant(number uint64, inputs ...cache.Digest) *kilnv1.Lease {
	node := &kilnv1.Node{Kind: step.Flatten, Version: step.Versions[step.Flatten], Label: "flatten lab/web:1"}
	for _, d := range inputs {
		node.Inputs = append(node.Inputs, &kilnv1.Input{Name: "layer/0", From: &kilnv1.Input_Digest{Digest: d.String()}})
	}
	lease := &kilnv1.Lease{Epoch: 1, Number: number, Task: cache.SumBytes([]byte{byte(number)}).String(), Node: node, Build: &kilnv1.BuildSpec{}}
	f.leader.grants <- []*kilnv1.Lease{lease}
	return lease
}

// put stores a blob.
func (f *fixture) put(t *testing.T, text string) cache.Digest {
	t.Helper()
	draft, err := f.store.Create(context.Background())
	check(t, err)
	defer draft.Abort()
	_, err = io.WriteString(draft, text)
	check(t, err)
	d, _, err := draft.Commit()
	check(t, err)
	return d
}
