package chaos

import (
	"context"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/internal/lab"
)

// older makes the program say that it applies the first feature level only, as the release before did.
const older = "-ldflags=-X github.com/kiln-farm/kiln/coordinator/state.levelCap=1"

// TestAFarmIsUpgradedWhileItBuilds replaces the program of one process after the other.
func TestAFarmIsUpgradedWhileItBuilds(t *testing.T) {
	if testing.Short() {
		t.Skip("a farm of processes; not in -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	before, err := lab.Build(ctx, t.TempDir(), older)
	must(err)
	after, err := lab.Build(ctx, t.TempDir())
	must(err)
	server := s3test.New(t)
	images, err := serveImages("127.0.0.1")
	must(err)
	t.Cleanup(func() { must(images.Close()) })
	farm, err := lab.New(ctx, lab.Options{
		Kiln: before, Dir: t.TempDir(), Coordinators: 3, Builders: 2, Store: server.URL("upgrade", ""), Env: server.Env(),
	})
	must(err)
	t.Cleanup(func() { must(farm.Close()) })
	must(farm.Start(ctx))
	level := func() uint32 {
		t.Helper()
		status, err := farm.Status(ctx)
		must(err)
		return status.GetLevel()
	}
	if got := level(); got != 1 {
		t.Fatalf("the farm of older programs has level %d, want 1", got)
	}

	l := &load{kiln: after, dir: t.TempDir(), farm: farm.URL(), credentials: farm.Admin, images: images, seed: 1}
	stop := make(chan struct{})
	var building sync.WaitGroup
	building.Go(func() { l.run(ctx, stop, 0) })
	for _, n := range append(farm.Builders(), farm.Coordinators()...) {
		must(n.Terminate(ctx))
		n.Binary = after
		must(n.Start())
		must(farm.Await(ctx))
	}
	for level() < 2 {
		select {
		case <-ctx.Done():
			t.Fatal("the feature level does not rise")
		case <-time.After(100 * time.Millisecond):
		}
	}
	close(stop)
	building.Wait()
	for _, text := range append(l.errors, l.faults...) {
		t.Error(text)
	}
	if l.Builds == 0 {
		t.Error("nothing was built meanwhile")
	}

	back := farm.Coordinators()[2]
	must(back.Terminate(ctx))
	back.Binary = before
	must(back.Start())
	select {
	case <-back.Ended():
	case <-ctx.Done():
		t.Fatal("the older program takes part in a farm that has gone on")
	}
	want := regexp.MustCompile(`(?m)^kiln: .*(too old for this farm|install the release that the (others|farm) runs?).*$`)
	if said := back.Said(); !want.MatchString(said) {
		t.Errorf("the older program ended with %q, want a sentence like %s", said, want)
	}
}
