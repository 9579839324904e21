package coordinator

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// A builder says that an input is gone. What becomes of that is the second reader's to say.
func TestASecondReaderDecidesWhetherAnInputIsGone(t *testing.T) {
	for _, c := range []struct {
		name string
		gone bool
		runs int // of the step that made the input
	}{
		{"it is gone: it is made again", true, 2},
		{"it is there: the builder tries again", false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t, "")
			var asked atomic.Int32
			f.coord.second.Again = func(context.Context, cache.Digest) (bool, error) {
				asked.Add(1)
				return c.gone, nil
			}
			var told atomic.Bool
			b := f.builder("b", chain(2, c.name), func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
				if l.Node.Label != "step 1" || told.Swap(true) {
					return nil
				}
				return &kilnv1.CompleteRequest{Completion: kilnv1.Completion_COMPLETION_INPUT_MISSING, Missing: l.Node.Inputs[0].GetDigest(), Error: "it is gone"}
			})
			s := f.watch(f.submit(f.spec()), 0)
			wantState(t, s, kilnv1.BuildState_BUILD_STATE_DONE)
			if got := b.ran("step 0"); got != c.runs {
				t.Errorf("the input was made %d times, want %d", got, c.runs)
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("the second reader was asked %d times", n)
			}
			for _, e := range s.events {
				if n := e.GetNode(); !c.gone && n.GetState() == kilnv1.NodeState_NODE_STATE_RETRY && !strings.Contains(n.GetError(), "which is there") {
					t.Errorf("the reason %q", n.GetError())
				}
			}
		})
	}
}

// A client finds a blob gone that a build which goes on has made: that build makes it again, so that no other build
// takes its word for it.
func TestABlobThatAClientMissesIsMadeAgain(t *testing.T) {
	f := newFarm(t, "")
	b := f.builder("b", chain(2, "missed"), func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
		if l.Node.Label == "step 1" {
			return lost // the build goes on
		}
		return nil
	})
	id := f.submit(f.spec())
	var made string
	f.wait("the first step is done", func() bool {
		l, _ := f.coord.current()
		l.View(func(m *state.Machine) {
			if n := m.Build(id).Nodes; len(n) > state.GraphNode && n[state.GraphNode].State == state.Done {
				made = n[state.GraphNode].Result.GetOutputs()[0].GetDigest()
			}
		})
		return made != ""
	})
	d, err := cache.ParseDigest(made)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.dir.Delete(t.Context(), cache.BlobKey(d)); err != nil {
		t.Fatal(err)
	}
	get := func() int {
		w := httptest.NewRecorder()
		f.coord.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/blobs/"+made, nil))
		return w.Code
	}
	if code := get(); code != http.StatusNotFound {
		t.Fatalf("status %d for a blob that is gone", code)
	}
	f.wait("the blob is there again", func() bool { return get() == http.StatusOK })
	if n := b.ran("step 0"); n != 2 {
		t.Errorf("the step ran %d times, want 2", n)
	}
}

// What the second reader finds is there is no reason to build again: the client asks again.
func TestABlobThatIsThereAfterAllIsAskedForAgain(t *testing.T) {
	f := newFarm(t, "")
	f.coord.second.Again = func(context.Context, cache.Digest) (bool, error) { return false, nil }
	w := httptest.NewRecorder()
	f.coord.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/blobs/"+cache.SumBytes([]byte("x")).String(), nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "the blob is there") {
		t.Errorf("status %d, %q", w.Code, w.Body.String())
	}
}
