package coordinator

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/watchers"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestABuildIsLeftWhenNobodyHasWatchedItForAWhile(t *testing.T) {
	w := watchers.New(duty.Tools{}, 0)
	now := time.Now()
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	leave := w.Enter("watched")
	for _, c := range []struct {
		seconds int
		want    string
	}{
		{0, "[]"}, {29, "[]"}, {31, "[never watched]"}, {60, "[never watched]"},
	} {
		if got := fmt.Sprint(w.Left([]string{"watched", "never watched"}, 30*time.Second, at(c.seconds))); got != c.want {
			t.Errorf("after %d s: %s are left, want %s", c.seconds, got, c.want)
		}
	}
	leave()
	if got := w.Left([]string{"watched"}, 30*time.Second, at(1)); len(got) != 0 {
		t.Errorf("%v are left at once", got)
	}
	if got := fmt.Sprint(w.Left([]string{"watched"}, 30*time.Second, at(60))); got != "[watched]" {
		t.Errorf("%s are left, want the one that was watched", got)
	}
}

func TestABuildWhoseClientVanishedIsCanceledUnlessItWasDetached(t *testing.T) {
	f := newFarm(t, "")
	f.close()
	f.patience = time.Second
	f.start()
	free := make(chan struct{})
	defer close(free)
	f.builder("b", chain(1, ""), func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
		if l.Node.Label == "step 0" {
			<-free
		}
		return nil
	})
	attended, detached := f.spec(), f.spec()
	detached.Detached = true
	f.submit(attended)
	f.submit(detached)
	ctx, vanish := context.WithCancel(f.ctx())
	stream, err := f.client.Watch(ctx, connect.NewRequest(&kilnv1.WatchRequest{Id: attended.Id}))
	if err != nil {
		t.Fatal(err)
	}
	stream.Receive()
	vanish()
	stream.Close()
	f.wait("the build is canceled", func() bool { return f.record(attended.Id).GetState() == kilnv1.BuildState_BUILD_STATE_CANCELED })
	if text := f.record(attended.Id).GetError(); !strings.Contains(text, "its client went away") {
		t.Errorf("the reason is %q", text)
	}
	if s := f.record(detached.Id).GetState(); s >= kilnv1.BuildState_BUILD_STATE_DONE {
		t.Errorf("the detached build ended as %v", s)
	}
}
