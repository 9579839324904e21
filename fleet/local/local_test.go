package local

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// open is a room with a machine that boots a release once.
func open(t *testing.T) *Room {
	t.Helper()
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := New(store)
	problems, err := r.Change(t.Context(), &kilnv1.RoomCommand{
		Machines: []*kilnv1.Machine{{Name: "web-1", Macs: []string{"52:54:00:12:34:56"}, BootOnce: "v1"}},
		Releases: []*kilnv1.Release{{Name: "v1", Platforms: map[string]*kilnv1.ReleaseFiles{"linux/amd64": {
			Kernel: &kilnv1.FileRef{Digest: cache.SumBytes([]byte("kernel")).String(), Size: 6},
		}}}},
	}, false)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v, %q", err, problems)
	}
	return r
}

func TestChanges(t *testing.T) {
	t.Parallel()
	r := open(t)
	in, err := r.Intent(t.Context())
	if err != nil || in.GetRevision() != 1 || len(in.GetTokenKey()) != tokenKeySize {
		t.Fatalf("intent %v, %v", in, err)
	}
	for _, c := range []struct {
		name     string
		change   *kilnv1.RoomCommand
		want     error
		problems int
	}{
		{"of what is no more so", &kilnv1.RoomCommand{RemoveMachines: []string{"web-1"}}, ErrStale, 0},
		{"of subnets", &kilnv1.RoomCommand{Base: 1, Subnets: []*kilnv1.Subnet{{Name: "s"}}}, ErrSubnets, 0},
		{"that makes no sense", &kilnv1.RoomCommand{Base: 1, RemoveReleases: []string{"v1"}}, nil, 1},
	} {
		problems, err := r.Change(t.Context(), c.change, false)
		if !errors.Is(err, c.want) || len(problems) != c.problems {
			t.Errorf("a change %s: %v, %q", c.name, err, problems)
		}
	}
	if again, err := r.Intent(t.Context()); err != nil || again.GetRevision() != 1 {
		t.Errorf("revision %d, %v: refused changes change nothing", again.GetRevision(), err)
	}
}

func TestABootThatWasToBeOnceIsForgotten(t *testing.T) {
	t.Parallel()
	r := open(t)
	event := func(machine, once string, at int64) *kilnv1.BootEvent {
		return &kilnv1.BootEvent{Machine: machine, Mac: "52:54:00:12:34:56", Once: once, UnixMs: at, Stage: kilnv1.BootStage_BOOT_STAGE_KERNEL}
	}
	once := func() string {
		in, err := r.Intent(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return in.GetMachines()[0].GetBootOnce()
	}
	for i, c := range []struct{ machine, once, want string }{{"web-1", "", "v1"}, {"web-1", "v0", "v1"}, {"gone", "v1", "v1"}, {"web-1", "v1", ""}} {
		if err := r.Report(t.Context(), []*kilnv1.BootEvent{event(c.machine, c.once, int64(i))}); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if got := once(); got != c.want {
			t.Errorf("%+v: it boots %q once", c, got)
		}
	}
	var told []string
	if err := r.Boots(t.Context(), "web-1", false, func(e *kilnv1.BootEvent) error {
		told = append(told, fmt.Sprint(e.GetUnixMs()))
		return nil
	}); err != nil || fmt.Sprint(told) != "[0 1 3]" {
		t.Errorf("events %v, %v", told, err)
	}
}

func TestSecretsAreReadOnceHowManyEverAsk(t *testing.T) {
	t.Parallel()
	r := open(t)
	var mu sync.Mutex // guards fresh
	fresh := 0
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			ok, err := r.Take(t.Context(), &kilnv1.TakeCommand{Machine: "web-1", Boot: "b", Document: "user-data", Request: fmt.Sprint(i)})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if ok {
				fresh++
			}
		})
	}
	all.Wait()
	if fresh != 1 {
		t.Errorf("%d of 8 may read it, want 1", fresh)
	}
}
