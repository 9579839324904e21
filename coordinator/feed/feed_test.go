package feed

import (
	"context"
	"strings"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestAFeedThatLostEventsTellsWhatCameOfThem(t *testing.T) {
	f := newFeed()
	for range 200 {
		f.Add(&kilnv1.BuildEvent{Event: &kilnv1.BuildEvent_Log{Log: &kilnv1.NodeLog{Lines: []string{strings.Repeat("x", 64<<10)}}}})
	}
	if f.size > ringBytes {
		t.Errorf("%d bytes are kept", f.size)
	}
	f.Add(StateEvent(kilnv1.BuildState_BUILD_STATE_DONE, "", nil))
	summary := func() []*kilnv1.BuildEvent {
		return []*kilnv1.BuildEvent{NodeEvent(&kilnv1.NodeChanged{}), StateEvent(kilnv1.BuildState_BUILD_STATE_DONE, "", nil)}
	}
	for _, after := range []uint64{0, 5, 201, 9000} {
		next := after
		err := f.Watch(context.Background(), after, summary, func(e *kilnv1.BuildEvent) error {
			if next++; e.Sequence != next {
				t.Errorf("after %d: got %d, want %d", after, e.Sequence, next)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := after + 2; after != 201 && next != want {
			t.Errorf("after %d: got %d events, want the summary", after, next-after)
		}
	}
}
