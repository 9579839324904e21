package lab_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/lab"
)

const patience = 90 * time.Second

func start(t *testing.T, o lab.Options) (*lab.Farm, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	var err error
	if o.Kiln, err = lab.Build(ctx, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	host := "127.0.0.1"
	if o.Network != nil {
		host = o.Network.Host
	}
	server, err := s3test.Start(t.TempDir(), host+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	o.Dir, o.Store, o.Env = t.TempDir(), server.URL("lab", ""), server.Env()
	f, err := lab.New(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return f, ctx
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFarmOfProcessesLosesNodesAndGetsThemBack(t *testing.T) {
	f, ctx := start(t, lab.Options{Coordinators: 3, Builders: 2})
	leader, err := f.Leader(ctx)
	check(t, err)
	pid := leader.Pid()
	check(t, leader.Kill())
	if leader.Running() || leader.Pid() != 0 || syscall.Kill(pid, 0) == nil {
		t.Fatal("a killed node runs on")
	}
	check(t, f.AwaitLeader(ctx))
	next, err := f.Leader(ctx)
	check(t, err)
	if next == leader {
		t.Errorf("%s leads, and it is dead", next.Name)
	}
	check(t, leader.Start())
	if leader.Start() == nil {
		t.Error("a node that runs was started again")
	}
	builder := f.Builders()[0]
	check(t, builder.Pause())
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", builder.Pid())); err != nil || !strings.Contains(string(stat), ") T ") {
		t.Errorf("a paused process is %s (%v), want its state to be T", stat, err)
	}
	check(t, builder.Resume())
	check(t, builder.Terminate(ctx))
	check(t, builder.Wipe())
	// With a new disk it is another builder of that name, whom the farm takes once it has not heard of the one before for a while.
	for check(t, builder.Start()); f.Await(ctx) != nil && strings.Contains(builder.Said(), "is taken by another builder"); {
		time.Sleep(time.Second)
		check(t, builder.Start())
	}
	check(t, f.Await(ctx))

	var backup bytes.Buffer
	check(t, f.Backup(ctx, &backup))
	m, err := state.Restore(&backup)
	check(t, err)
	if got := len(m.Members()); got != 3 {
		t.Errorf("the backup has %d members, want 3", got)
	}
}

func TestNodesInNetworksOfTheirOwnAreCutOff(t *testing.T) {
	if err := lab.Able(); err != nil {
		t.Skip("no links are cut here:", err)
	}
	network, err := lab.NewNetwork()
	check(t, err)
	t.Cleanup(func() { check(t, network.Close()) })
	f, ctx := start(t, lab.Options{Coordinators: 3, Builders: 1, Network: network, Disks: map[string]int64{"b1": 64 << 20}})
	leader, err := f.Leader(ctx)
	check(t, err)
	check(t, network.Isolate(leader, true))
	check(t, f.AwaitLeader(ctx))
	next, err := f.Leader(ctx)
	check(t, err)
	if next == leader {
		t.Errorf("%s leads and can be reached, and it is cut off", next.Name)
	}
	check(t, network.Heal())
	check(t, f.Await(ctx))

	disk := f.Builders()[0].Disk()
	check(t, disk.Fill(0))
	if err := os.WriteFile(filepath.Join(f.Builders()[0].Data, "more"), make([]byte, 64<<10), 0o600); err == nil {
		t.Error("a full disk takes more")
	}
	check(t, disk.Free())
	check(t, os.WriteFile(filepath.Join(f.Builders()[0].Data, "more"), make([]byte, 64<<10), 0o600))
}
