package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/internal/lab"
)

const (
	coordinators = 3
	builders     = 4
	// Bytes of nodes' own disks: a segment of the log takes 64 MiB, and a builder takes no work with less than 1 GiB free.
	coordinatorDisk = 600 << 20
	builderDisk     = 1800 << 20
)

// world is a farm and everything around it.
type world struct {
	farm    *lab.Farm
	network *lab.Network // nil: this process may not make one
	server  *s3test.Server
	proxy   *s3test.Proxy
	gates   map[string]*gate // by builder
	images  *images
	random  *rand.Rand    // of faults, used by one goroutine
	haste   time.Duration // what random waits are divided by
	dir     string
	spoiled map[string]bool // blobs that were damaged in the store, by digest
}

// newWorld starts a farm with all that it needs; what it started ends with the test.
func newWorld(ctx context.Context, t *testing.T, dir string, seed uint64) *world {
	t.Helper()
	w := &world{gates: map[string]*gate{}, haste: 1, random: rand.New(rand.NewPCG(seed, 1)), dir: dir, spoiled: map[string]bool{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	host := "127.0.0.1"
	disks := map[string]int64{}
	if err := lab.Able(); err != nil {
		t.Log("no links are cut and no disk is filled here:", err)
	} else {
		w.network, err = lab.NewNetwork()
		must(err)
		t.Cleanup(func() { must(w.network.Close()) })
		host = w.network.Host
		for n := range coordinators {
			disks[fmt.Sprintf("c%d", n+1)] = coordinatorDisk
		}
		for n := range builders {
			disks[fmt.Sprintf("b%d", n+1)] = builderDisk
		}
	}
	kiln, err := lab.Build(ctx, t.TempDir())
	must(err)
	w.server, err = s3test.Start(t.TempDir(), host+":0")
	must(err)
	t.Cleanup(w.server.Close)
	w.proxy, err = s3test.NewProxy(w.server.Address, host+":0", seed)
	must(err)
	t.Cleanup(w.proxy.Close)
	w.images, err = serveImages(host)
	must(err)
	t.Cleanup(func() { must(w.images.Close()) })

	nodes := filepath.Join(dir, "farm")
	must(lab.Clear(nodes))
	w.farm, err = lab.New(ctx, lab.Options{
		Kiln: kiln, Dir: nodes, Name: "chaos", Coordinators: coordinators, Builders: builders, Store: w.server.URL("chaos", w.proxy.URL),
		Env: w.server.Env(), CacheSize: "200M", Network: w.network, Disks: disks, BuilderArgs: []string{"--slots", "2"},
	})
	must(err)
	t.Cleanup(func() { must(w.farm.Close()) })
	for _, b := range w.farm.Builders() {
		g, err := newGate(host, w.proxy.URL)
		must(err)
		t.Cleanup(func() { must(g.Close()) })
		w.gates[b.Name] = g
		b.Args = append(b.Args, "--store", w.server.URL("chaos", g.URL))
	}
	must(w.farm.Start(ctx))
	return w
}

// await waits until the farm is whole.
func (w *world) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wholeAgain)
	defer cancel()
	return w.farm.Await(ctx)
}
