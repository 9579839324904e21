package cli

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// talking is a farm with one build, whose steps say what a test has them say.
type talking struct {
	kilnv1connect.UnimplementedFarmServiceHandler
	events []*kilnv1.BuildEvent
	after  func(*kilnv1.BuildRecord) // what has become of the build once it was watched
	blobs  map[string]string

	mu    sync.Mutex // guards build
	build *kilnv1.BuildRecord
}

const talkingID = "01938c5e-7c2a-7bb1-9f5d-0c7a4c7f2f11"

func (f *talking) blob(text string) string {
	d := cache.SumBytes([]byte(text)).String()
	f.blobs[d] = text
	return d
}

func (f *talking) GetBuild(context.Context, *connect.Request[kilnv1.GetBuildRequest]) (*connect.Response[kilnv1.GetBuildResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return connect.NewResponse(&kilnv1.GetBuildResponse{Build: proto.CloneOf(f.build)}), nil
}

func (f *talking) Watch(_ context.Context, _ *connect.Request[kilnv1.WatchRequest], stream *connect.ServerStream[kilnv1.WatchResponse]) error {
	for i, e := range f.events {
		e.Sequence = uint64(i + 1)
		if err := stream.Send(&kilnv1.WatchResponse{Event: e}); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after(f.build)
	return stream.Send(&kilnv1.WatchResponse{Event: &kilnv1.BuildEvent{Sequence: uint64(len(f.events) + 1), Event: &kilnv1.BuildEvent_State{
		State: &kilnv1.StateChanged{State: f.build.GetState(), Error: f.build.GetError()}}}})
}

func (f *talking) serve(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(kilnv1connect.NewFarmServiceHandler(f))
	mux.HandleFunc("/v1/blobs/", func(w http.ResponseWriter, r *http.Request) {
		text, ok := f.blobs[path.Base(r.URL.Path)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(text))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func said(node uint32, lines ...string) *kilnv1.BuildEvent {
	return &kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_Log{Log: &kilnv1.NodeLog{Node: node, Lines: lines}}}
}

// newTalking is a build of four steps, the first of which has ended.
func newTalking() *talking {
	f := &talking{blobs: map[string]string{}}
	f.build = &kilnv1.BuildRecord{
		Spec: &kilnv1.BuildSpec{Id: talkingID, Team: "default", Name: "hello"}, State: kilnv1.BuildState_BUILD_STATE_RUNNING,
		Nodes: []*kilnv1.NodeRecord{{Label: "init", Log: f.blob("init one\ninit two\n")}, {Label: "services/web"}, {Label: "services/web-admin"}, {Label: "quiet"}},
	}
	f.events = []*kilnv1.BuildEvent{
		{Event: &kilnv1.BuildEvent_Graph{Graph: &kilnv1.GraphKnown{Labels: []string{"init", "services/web", "services/web-admin", "quiet"}}}},
		said(0, "init one", "init two"), // which the stored log had already
		said(1, "web one"),
		{Event: &kilnv1.BuildEvent_Node{Node: &kilnv1.NodeChanged{Node: 1, State: kilnv1.NodeState_NODE_STATE_RETRY, Error: "builder b1 was lost"}}},
		said(1, "web \x1b[31mtwo"),
	}
	f.after = func(b *kilnv1.BuildRecord) {
		b.State, b.Error = kilnv1.BuildState_BUILD_STATE_FAILED, "services/web-admin: exit code 1"
		b.Nodes[1].Log = f.blob("web one\nweb two\n")
		b.Nodes[2].Log = f.blob("what was lost on the way")
	}
	return f
}

func TestLogsAreThoseInTheCacheAndThoseThatCome(t *testing.T) {
	for _, c := range []struct {
		name           string
		args           []string
		stdout, stderr string
	}{
		{"without -f only what is stored", nil, "init | init one\ninit | init two\n", ""},
		{"with -f each line once", []string{"-f"},
			"init | init one\ninit | init two\nservices/web | web one\nservices/web | runs again: builder b1 was lost\nservices/web | web ?[31mtwo\n" +
				"services/web-admin | what was lost on the way\n",
			"the build ended as failed: services/web-admin: exit code 1\n"},
		{"of one step", []string{"-f", "--bare", "--step", "services/web-admin"}, "what was lost on the way\n",
			"the build ended as failed: services/web-admin: exit code 1\n"},
		{"of a step that said nothing", []string{"--step", "quiet"}, "", "no step said anything\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.vars["KILN_FARM"] = newTalking().serve(t)
			got := w.run(append(append([]string{"logs"}, c.args...), talkingID)...).ok(t)
			if diff := cmp.Diff(c.stdout, got.stdout); diff != "" {
				t.Errorf("standard output (-want +got):\n%s", diff)
			}
			if got.stderr != c.stderr {
				t.Errorf("standard error %q, want %q", got.stderr, c.stderr)
			}
		})
	}
}

func TestALogThatTheCacheDroppedIsNoFault(t *testing.T) {
	w := newWorld(t)
	f := newTalking()
	clear(f.blobs)
	w.vars["KILN_FARM"] = f.serve(t)
	if got, want := w.run("logs", talkingID).ok(t).stdout, "init | the cache has dropped what it said\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
