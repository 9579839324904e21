package coordinator

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// room is a client of the farm's room API.
func (f *farm) room() kilnv1connect.RoomServiceClient {
	f.t.Helper()
	web := httptest.NewServer(f.coord.Handler())
	f.t.Cleanup(web.Close)
	return kilnv1connect.NewRoomServiceClient(web.Client(), web.URL)
}

// raised waits until the farm's level lets rooms be written.
func (f *farm) raised() {
	f.wait("the level is raised", func() (ok bool) {
		_, err := f.room().Change(f.ctx(), connect.NewRequest(&kilnv1.ChangeRequest{Change: &kilnv1.RoomCommand{}, DryRun: true}))
		return err == nil
	})
}

func TestTheIntentIsChangedAsAWholeOrNotAtAll(t *testing.T) {
	f := newFarm(t, "")
	f.raised()
	room := f.room()
	change := func(base uint64, names ...string) (*kilnv1.ChangeResponse, error) {
		c := &kilnv1.RoomCommand{Base: base}
		for i, n := range names {
			c.Machines = append(c.Machines, &kilnv1.Machine{Name: n, Macs: []string{fmt.Sprintf("52:54:00:00:%02x:%02x", len(n), i)}, Secrets: map[string]string{"password": "s"}})
		}
		res, err := room.Change(f.ctx(), connect.NewRequest(&kilnv1.ChangeRequest{Change: c}))
		if err != nil {
			return nil, err
		}
		return res.Msg, nil
	}
	if res, err := change(0, "a", "b"); err != nil || res.GetRevision() != 1 || len(res.GetProblems()) > 0 {
		t.Fatalf("the first change: %v, %v", res, err)
	}
	if _, err := change(0, "c"); connect.CodeOf(err) != connect.CodeAborted || !strings.Contains(err.Error(), "somebody else changed the intent meanwhile") {
		t.Errorf("a change of something older: %v", err)
	}
	if res, err := change(1, "no name"); err != nil || res.GetRevision() != 1 || len(res.GetProblems()) != 1 || !strings.HasPrefix(res.GetProblems()[0], `machine "no name": `) {
		t.Errorf("a change that makes no sense: %v, %v", res, err)
	}
	got, err := room.GetIntent(f.ctx(), connect.NewRequest(&kilnv1.GetIntentRequest{}))
	if err != nil || len(got.Msg.GetIntent().GetMachines()) != 2 || len(got.Msg.GetIntent().GetTokenKey()) != tokenKeySize {
		t.Errorf("the intent: %v, %v", got, err)
	}
}

func TestSecretsAreReadOnceAtAllEdges(t *testing.T) {
	f := newFarm(t, "")
	room := f.room()
	take := func(boot, request string) (bool, error) {
		res, err := room.Take(f.ctx(), connect.NewRequest(&kilnv1.TakeRequest{Machine: "a", Boot: boot, Document: "user-data", Request: request}))
		if err != nil {
			return false, err
		}
		return res.Msg.GetFresh(), nil
	}
	f.wait("the level is raised", func() bool { _, err := take("boot0", "r0"); return err == nil })
	for _, c := range []struct {
		boot, request string
		want          bool
	}{{"boot1", "r1", true}, {"boot1", "r1", true}, {"boot1", "r2", false}, {"boot2", "r3", true}} {
		if got, err := take(c.boot, c.request); err != nil || got != c.want {
			t.Errorf("boot %s, request %s: fresh %v, %v, want %v", c.boot, c.request, got, err, c.want)
		}
	}
	if _, err := take("", "r4"); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("no boot: %v", err)
	}
}

func TestAnEdgeHearsOfEveryChange(t *testing.T) {
	f := newFarm(t, "")
	f.raised()
	room := f.room()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream, err := room.WatchIntent(ctx, connect.NewRequest(&kilnv1.WatchIntentRequest{Edge: "e"}))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for base := range uint64(3) {
			_, _ = room.Change(ctx, connect.NewRequest(&kilnv1.ChangeRequest{Change: &kilnv1.RoomCommand{Base: base, Groups: []*kilnv1.Group{{Name: fmt.Sprint(base)}}}}))
		}
	}()
	for stream.Receive() {
		if i := stream.Msg().GetIntent(); i.GetRevision() == 3 {
			if len(i.GetGroups()) != 3 {
				t.Errorf("%d groups at revision 3", len(i.GetGroups()))
			}
			return
		}
	}
	t.Fatal(stream.Err())
}

func TestWhatMachinesDidIsKept(t *testing.T) {
	f := newFarm(t, "")
	f.raised()
	room := f.room()
	now := time.Now().UnixMilli()
	events := []*kilnv1.BootEvent{
		{Machine: "web1", Mac: "52:54:00:00:00:01", UnixMs: now, Stage: kilnv1.BootStage_BOOT_STAGE_DHCP, Detail: "offered"},
		{Machine: "web1", Mac: "52:54:00:00:00:01", UnixMs: now + 1, Stage: kilnv1.BootStage_BOOT_STAGE_SCRIPT},
		{Mac: "52:54:00:00:00:02", UnixMs: now + 2, Stage: kilnv1.BootStage_BOOT_STAGE_DHCP, Detail: strings.Repeat("x", 2*maxDetail)},
	}
	if _, err := room.Report(f.ctx(), connect.NewRequest(&kilnv1.ReportRequest{Edge: "e1", Events: events})); err != nil {
		t.Fatal(err)
	}
	boots := func(machine string) (n int) {
		stream, err := room.Boots(f.ctx(), connect.NewRequest(&kilnv1.BootsRequest{Machine: machine}))
		if err != nil {
			t.Fatal(err)
		}
		for stream.Receive() {
			if e := stream.Msg().GetEvent(); e.GetEdge() != "e1" || len(e.GetDetail()) > maxDetail {
				t.Errorf("event %v", e)
			}
			n++
		}
		return n
	}
	for machine, want := range map[string]int{"web1": 2, "52:54:00:00:00:02": 1, "nobody": 0, "": 3} {
		if got := boots(machine); got != want {
			t.Errorf("%q: %d events, want %d", machine, got, want)
		}
	}
	f.wait("the cache has them", func() bool {
		kept := &kilnv1.BootRecord{}
		return record.Get(f.ctx(), f.dir, cache.BootKey("web1"), kept) == nil && len(kept.GetEvents()) == 2
	})
	f.close()
	f.start()
	f.raised()
	room = f.room()
	if got := boots("web1"); got != 2 {
		t.Errorf("%d events after a restart, want 2", got)
	}
}
