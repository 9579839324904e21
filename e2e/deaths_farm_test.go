package e2e

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/internal/lab"
)

// TestMachinesBootWhenTheFarmIsGone: no coordinator and no S3, and then the edges have been restarted, too.
func TestMachinesBootWhenTheFarmIsGone(t *testing.T) {
	full(t)
	p := newPair(t, 0)
	needFirmware(t, "amd64")
	p.local(t)
	for _, c := range p.farm.Coordinators() {
		gone(t, c.Kill())
	}
	p.server.Close()
	boots := func(name, says string) {
		t.Run(name, func(t *testing.T) {
			m := p.power(t, retryingBIOS(), nil)
			t.Logf("%.1f s", m.until(marker, deathLimit).Sub(m.begun).Seconds())
			m.until(says, deathLimit)
			m.off()
		})
	}
	boots("nobody is there but the edges", "hello from the edge")

	edges := []*lab.Node{p.first, p.second}
	for _, e := range edges {
		gone(t, e.Kill())
	}
	begun := time.Now()
	for _, e := range edges {
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
	}
	p.acquainted(t)
	t.Logf("edges serve %.1f s after their restart", time.Since(begun).Seconds())
	boots("the edges have been restarted", "hello from the edge")
	t.Run("and one of them dies", func(t *testing.T) {
		p.survives(t, amid(asks("/files/", 2), mid), true, p.first.Kill, retryingBIOS())
	})

	begun = time.Now()
	if err := p.server.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, n := range append(p.farm.Coordinators(), p.first) {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), farmPatience)
	defer cancel()
	if err := p.farm.AwaitLeader(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("the farm is back after %.1f s", time.Since(begun).Seconds())
	p.greet(t, "hello again")
	for _, e := range edges {
		if err := e.AwaitSaid(ctx, "revision=2"); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the edges have a new intent after %.1f s", time.Since(begun).Seconds())
	boots("the farm is back, and machines are to be something else", "hello again")
}

// greet has machines say something else.
func (p *pair) greet(t *testing.T, words string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "machines.yml")
	text := "groups:\n  - {name: demo, selector: {role: demo}, release: demo, templates: {user-data: \"" + words + "\"}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.with(t, "apply", "-f", file)
}

// stuck is after how long somebody kills an edge that stands still, where a machine waits for it for ever.
const stuck = 20 * time.Second

// TestAnEdgeStandsStill: its process is stopped, or its host is cut off, and no connection to it ends.
func TestAnEdgeStandsStill(t *testing.T) {
	full(t)
	p := newPair(t, 0)
	needFirmware(t, "amd64")
	p.local(t)
	for _, c := range []struct {
		name string
		when moment
		same bool
		// ever: iPXE has no patience of its own when it loads the script, so a connection that stands stays. A service
		// manager has to see that the edge does nothing any more.
		ever bool
	}{
		{"after its offer", told(dhcpOffer), false, false},
		{"after its acknowledgement", told(dhcpAck), false, true},
		{"when it is asked for the script", asks("/boot.ipxe", 1), false, true},
		{"in the middle of the kernel", amid(asks("/files/", 1), mid), true, false},
		{"in the middle of the initrd", amid(asks("/files/", 2), mid), true, false},
		{"when it is asked for the configuration", asks("/m/", 1), true, false},
	} {
		t.Run("stopped "+c.name, func(t *testing.T) {
			over := make(chan struct{})
			var killer sync.WaitGroup
			defer killer.Wait()
			defer close(over)
			p.survives(t, c.when, c.same, func() error {
				if c.ever {
					killer.Go(func() {
						select {
						case <-time.After(stuck):
							gone(t, p.first.Kill())
						case <-over:
						}
					})
				}
				return p.first.Pause()
			}, retryingBIOS())
			gone(t, p.first.Kill()) // it begins anew: nobody knows what the others think of it now
		})
		t.Run("cut off "+c.name, func(t *testing.T) {
			t.Cleanup(func() { gone(t, p.room.Plug(p.first)) })
			p.survives(t, c.when, c.same, func() error { return p.room.Unplug(p.first) }, retryingBIOS())
			gone(t, p.first.Kill())
		})
	}
}

// TestAReleaseChangesInTheMiddleOfABoot: what a machine began it ends, although its release has other files by now.
func TestAReleaseChangesInTheMiddleOfABoot(t *testing.T) {
	full(t)
	p := newPair(t, 0)
	needFirmware(t, "amd64")
	p.local(t)
	next := p.files(t, "--compress", "zstd")
	reached, changed := make(chan struct{}), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(changed) })
	w := newWatch(amid(asks("/files/", 1), mid)(p.firstIP), func() {
		close(reached)
		<-changed
	})
	m := p.power(t, retryingBIOS(), w.see)
	t.Cleanup(goOn) // before the cable ends, which waits for what it shows
	select {
	case <-reached:
	case <-m.ended:
		t.Fatal("the machine did not ask for its kernel")
	case <-time.After(deathLimit):
		t.Fatalf("in %s the machine did not ask for its kernel", deathLimit)
	}
	next()
	ctx, cancel := context.WithTimeout(t.Context(), farmPatience)
	defer cancel()
	for _, e := range []*lab.Node{p.first, p.second} {
		if err := e.AwaitSaid(ctx, "revision=2"); err != nil {
			t.Fatal(err)
		}
	}
	goOn()
	t.Logf("up after %.1f s", m.until(marker, deathLimit).Sub(m.begun).Seconds())
	m.off()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.scripts != 1 {
		t.Errorf("the machine asked for %d scripts: it has begun anew, and was to end with the files that it began with", w.scripts)
	}
}
