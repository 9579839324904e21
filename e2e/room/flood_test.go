package room

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/internal/dhcpsim"
	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
	"github.com/kiln-farm/kiln/internal/lab"
)

const (
	floodBehind  = 40  // machines behind the relay, where the flood comes from
	floodPool    = 40  // addresses for each half of them
	floodDirect  = 180 // machines on the segment, whose pool has 151 addresses
	floodOnce    = 20  // forged DISCOVERs of every few milliseconds
	floodEvery   = 20 * time.Millisecond
	floodPatient = time.Minute
)

// TestForgedMACsStarveNobody: behind the relay a thousand forged hardware addresses in a second ask for addresses and take none,
// and every machine there gets one nevertheless. On the segment more strangers take addresses than there are; a machine that is
// described gets one of the last, and that the pool is exhausted is told once by each edge.
func TestForgedMACsStarveNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("a farm of processes; not in -short")
	}
	if err := lab.Able(); err != nil {
		t.Skip("SKIPPED: the farm and its machines need networks of their own: ", err)
	}
	if _, err := exec.LookPath(strangers[0].program); err != nil {
		t.Skipf("SKIPPED: %v; make e2e installs it", err)
	}
	ctx := t.Context()
	w := newWorld(ctx, t, t.TempDir(), 1, setting{edges: 2, addresses: floodPool, lease: time.Hour, boot: 10 * time.Minute, known: []string{hourMAC(1)}})
	sim := dhcpsim.New(dhcpsim.Options{Seed: 1, Machines: floodBehind, Direct: floodDirect, Networks: w.networks, Spread: time.Second, Pace: time.Hour, Honest: true, Quiet: true},
		w.wire, history.New(w.pools...))
	living, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	flooded := make(chan struct{})
	go func() { // before machines are switched on, and until they have what they want
		defer close(flooded)
		for living.Err() == nil {
			for _, n := range w.networks {
				if n.Relay.IsValid() {
					sim.Flood(living, n, floodOnce/2)
				}
			}
			time.Sleep(floodEvery)
		}
	}()
	begun := time.Now()
	go func() { sim.Run(living); close(done) }()
	behind := 0
	for ; behind < floodBehind && time.Since(begun) < floodPatient; time.Sleep(50 * time.Millisecond) {
		behind = 0
		for id := range sim.Leases(ctx) {
			if id < floodBehind {
				behind++
			}
		}
	}
	took := time.Since(begun)
	exhausted := func(e *lab.Node) int {
		log, err := os.ReadFile(e.Log)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(log), `msg="a pool is exhausted"`)
	}
	await(t, "an edge says that the segment's pool is exhausted", floodPatient, func(context.Context) bool {
		return exhausted(w.farm.Edges()[0])+exhausted(w.farm.Edges()[1]) > 0
	})
	h := &hour{t: t, world: w, dir: t.TempDir()}
	g := h.moveIn(strangers[0], "described")
	h.settles(g)
	stop()
	<-done
	<-flooded
	if behind < floodBehind {
		t.Errorf("after %s %d of %d machines behind the flood have addresses", took, behind, floodBehind)
	}
	t.Logf("all %d machines behind the flood have their systems' addresses after %.1f s; it sent %d DISCOVERs", behind, took.Seconds(), sim.Counts()["DISCOVERs of floods"])
	for _, v := range sim.Model.Violations {
		t.Error(v)
	}
	for _, e := range w.farm.Edges() {
		if n := exhausted(e); n > 1 {
			t.Errorf("%s says %d times that a pool is exhausted", e.Name, n)
		}
		log, _ := os.ReadFile(e.Log)
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, `msg="a pool is exhausted"`) && !strings.Contains(line, "subnet=floor") {
				t.Errorf("%s: %s", filepath.Base(e.Log), line)
			}
		}
	}
	await(t, "kiln boots says that the pool is exhausted", bookPatience, func(context.Context) bool {
		return strings.Contains(w.command(t, "boots"), "no address is free in subnet floor")
	})
}
