package coordinator

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
)

// farm is a coordinator with a cache and a bus, for tests to play the builders and the clients of.
type farm struct {
	t      testing.TB
	dir    *disk.Store
	nc     *nats.Conn
	coord  *Coordinator
	client kilnv1connect.FarmServiceClient
	config string
	data   string
	close  func()

	patience time.Duration // with clients that vanish
}

func newFarm(t testing.TB, dataDir string) *farm {
	t.Helper()
	dir, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server, err := bus.Start(bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	nc, err := server.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	f := &farm{t: t, dir: dir, nc: nc, data: dataDir}
	f.config = f.blob([]byte("config"))
	f.start()
	t.Cleanup(func() { f.close() })
	return f
}

func (f *farm) start() { f.startWith(func(*Config) {}) }

// startWith starts the coordinator with another configuration.
func (f *farm) startWith(change func(*Config)) {
	f.t.Helper()
	c := Config{Store: f.dir, Blobs: f.dir, Bus: f.nc, DataDir: f.data, ClientPatience: f.patience, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	change(&c)
	var err error
	f.coord, err = New(c)
	if err != nil {
		f.t.Fatal(err)
	}
	web := httptest.NewServer(f.coord.Handler())
	f.client = kilnv1connect.NewFarmServiceClient(web.Client(), web.URL)
	f.close = sync.OnceFunc(func() {
		web.CloseClientConnections()
		if err := f.coord.Close(); err != nil {
			f.t.Error(err)
		}
		web.Close()
	})
	if err := f.coord.Ready(f.ctx()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *farm) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	f.t.Cleanup(cancel)
	return ctx
}

func (f *farm) blob(data []byte) string {
	f.t.Helper()
	d := cache.SumBytes(data)
	if err := f.dir.Put(context.Background(), cache.BlobKey(d), bytes.NewReader(data), int64(len(data)), cache.IfAbsent); err != nil {
		f.t.Fatal(err)
	}
	return d.String()
}

func (f *farm) spec() *kilnv1.BuildSpec {
	return &kilnv1.BuildSpec{
		Id: uuid.Must(uuid.NewV7()).String(), Team: "team", Name: "name", Config: f.config,
		Platforms: []string{"linux/amd64"}, Formats: []string{"tar"},
	}
}

func (f *farm) submit(spec *kilnv1.BuildSpec) string {
	f.t.Helper()
	if _, err := f.client.Submit(f.ctx(), connect.NewRequest(&kilnv1.SubmitRequest{Spec: spec})); err != nil {
		f.t.Fatal(err)
	}
	return spec.Id
}

// seen is what a watcher of a build saw.
type seen struct {
	events []*kilnv1.BuildEvent
	last   *kilnv1.StateChanged
	nodes  map[uint32][]kilnv1.NodeState
}

func (f *farm) watch(id string, after uint64) *seen {
	f.t.Helper()
	stream, err := f.client.Watch(f.ctx(), connect.NewRequest(&kilnv1.WatchRequest{Id: id, After: after}))
	if err != nil {
		f.t.Fatal(err)
	}
	defer stream.Close()
	s := &seen{nodes: map[uint32][]kilnv1.NodeState{}}
	for stream.Receive() {
		e := stream.Msg().GetEvent()
		if want := after + uint64(len(s.events)) + 1; e.GetSequence() != want {
			f.t.Errorf("event has sequence %d, want %d", e.GetSequence(), want)
		}
		s.events = append(s.events, e)
		if st := e.GetState(); st != nil {
			s.last = st
		}
		if n := e.GetNode(); n != nil {
			s.nodes[n.Node] = append(s.nodes[n.Node], n.State)
		}
	}
	if err := stream.Err(); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// chain is a graph of n steps that each take the one before, and give an artifact.
func chain(n int, salt string) *kilnv1.Graph {
	g := &kilnv1.Graph{}
	for i := range n {
		node := &kilnv1.Node{Kind: step.Segment, Version: step.Versions[step.Segment], Params: fmt.Appendf(nil, `{"n":%d,"salt":%q}`, i, salt), Label: fmt.Sprint("step ", i)}
		if i > 0 {
			node.Inputs = []*kilnv1.Input{{Name: "in", From: &kilnv1.Input_Output{Output: &kilnv1.NodeOutput{Node: uint32(i - 1), Name: "out"}}}}
		}
		g.Nodes = append(g.Nodes, node)
	}
	g.Targets = []*kilnv1.Target{{Platform: "linux/amd64", Format: "tar", File: ".tar", From: &kilnv1.NodeOutput{Node: uint32(n - 1), Name: "out"}}}
	return g
}

// builder runs steps as the tests want them.
type builder struct {
	f     *farm
	id    string
	graph *kilnv1.Graph
	// before is asked first; what it returns, if anything, is how the step ends.
	before func(*kilnv1.Lease) *kilnv1.CompleteRequest
	stored cache.Digest // the last blob that was
	fast   bool         // steps give the same blob, which is there, and completions are not waited for
	mu     sync.Mutex
	runs   map[string]int // by label
}

func (f *farm) builder(id string, g *kilnv1.Graph, before func(*kilnv1.Lease) *kilnv1.CompleteRequest) *builder {
	b := &builder{f: f, id: id, graph: g, before: before, runs: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	busy.Add(1)
	go func() {
		defer busy.Done()
		b.run(ctx)
	}()
	f.t.Cleanup(func() { cancel(); busy.Wait() })
	return b
}

func (b *builder) info() *kilnv1.BuilderInfo {
	info := &kilnv1.BuilderInfo{Id: b.id, Session: "1", Platforms: []string{"linux/amd64"}, Slots: 64}
	for kind, version := range step.Versions {
		info.Kinds = append(info.Kinds, &kilnv1.StepKind{Kind: kind, Version: version})
	}
	return info
}

func (b *builder) run(ctx context.Context) {
	subjects := bus.For("kiln")
	var busy sync.WaitGroup
	defer busy.Wait()
	for ctx.Err() == nil {
		reply := &kilnv1.LeaseReply{}
		if err := bus.Request(ctx, b.f.nc, subjects.Lease(b.id), &kilnv1.LeaseRequest{Builder: b.info(), Credits: 64, WaitMs: 10_000}, reply); err != nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		for _, lease := range reply.Leases {
			b.mu.Lock()
			b.runs[lease.Node.Label]++
			b.mu.Unlock()
			done := b.step(lease)
			if done == nil {
				continue // as a builder that dies
			}
			if b.fast && lease.Node.Kind != step.Resolve && lease.Node.Kind != step.Plan {
				busy.Add(1)
				go func() {
					defer busy.Done()
					b.complete(ctx, lease, done)
				}()
				continue
			}
			b.complete(ctx, lease, done)
		}
	}
}

func (b *builder) complete(ctx context.Context, lease *kilnv1.Lease, done *kilnv1.CompleteRequest) {
	done.Builder, done.Session, done.Epoch, done.Number, done.Task = b.id, "1", lease.Epoch, lease.Number, lease.Task
	for ctx.Err() == nil && bus.Request(ctx, b.f.nc, bus.For("kiln").Complete(b.id), done, &kilnv1.CompleteReply{}) != nil {
		time.Sleep(5 * time.Millisecond)
	}
}

// lost is how a builder that dies ends a step.
var lost = &kilnv1.CompleteRequest{Error: "dies"}

func (b *builder) step(lease *kilnv1.Lease) *kilnv1.CompleteRequest {
	if b.before != nil {
		if done := b.before(lease); done == lost {
			return nil
		} else if done != nil {
			return done
		}
	}
	out := &kilnv1.Output{Name: "out"}
	var data []byte
	switch lease.Node.Kind {
	case step.Resolve:
		out.Name, data = "lock", []byte("lock")
	case step.Plan:
		out.Name = "graph"
		data, _ = proto.MarshalOptions{Deterministic: true}.Marshal(b.graph)
	default:
		body := []byte("made by " + lease.Task)
		if b.fast {
			body = []byte("always the same")
		}
		data, _ = artifact.Encode(&artifact.Artifact{Digest: cache.SumBytes(body), Size: int64(len(body)), Extents: []artifact.Extent{{Length: int64(len(body)), Inline: body}}})
	}
	if b.fast && cache.SumBytes(data) == b.stored {
		out.Digest = b.stored.String()
	} else {
		out.Digest = b.f.blob(data)
		b.stored = cache.SumBytes(data)
	}
	out.Size = int64(len(data))
	return &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_DONE, Outputs: []*kilnv1.Output{out}, References: []string{out.Digest}, DurationUs: 1}
}

func (b *builder) ran(label string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs[label]
}

func (b *builder) total() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.runs {
		n += k
	}
	return n
}

func (f *farm) wait(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("waited too long until %s", what)
		}
	}
}

func (f *farm) record(id string) *kilnv1.BuildRecord {
	f.t.Helper()
	r, err := f.client.GetBuild(f.ctx(), connect.NewRequest(&kilnv1.GetBuildRequest{Id: id}))
	if err != nil {
		f.t.Fatal(err)
	}
	return r.Msg.GetBuild()
}
