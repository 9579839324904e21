package coordinator

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kiln-farm/kiln/cache"
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
			f.coord.cfg.Recheck = func(context.Context, cache.Digest) (bool, error) {
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
