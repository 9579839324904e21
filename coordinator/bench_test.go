package coordinator

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// wide is a graph of n steps that need nothing of each other.
func wide(n int) *kilnv1.Graph {
	g := chain(n, "")
	for _, node := range g.Nodes {
		node.Inputs = nil
	}
	return g
}

// BenchmarkSteps runs builds of 2,000 steps through the scheduler, with a builder of 64 credits that answers at once.
func BenchmarkSteps(b *testing.B) {
	for _, durable := range []bool{false, true} {
		b.Run(fmt.Sprintf("durable=%v", durable), func(b *testing.B) {
			const steps = 2000
			data := ""
			if durable {
				data = b.TempDir()
			}
			f := newFarm(b, data)
			var mu sync.Mutex
			var waits []time.Duration
			f.coord.cfg.Leased = func(wait time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				waits = append(waits, wait)
			}
			w := f.builder("b", nil, nil)
			w.fast = true
			n := 0
			for b.Loop() {
				n++
				g := wide(steps)
				for i, node := range g.Nodes {
					node.Params = fmt.Appendf(nil, "%d-%d", n, i)
				}
				w.graph = g
				spec := f.spec()
				spec.Config = f.blob(fmt.Append(nil, n))
				if s := f.watch(f.submit(spec), 0); s.last.GetState() != kilnv1.BuildState_BUILD_STATE_DONE {
					b.Fatal(s.last)
				}
			}
			b.ReportMetric(float64(steps*n)/b.Elapsed().Seconds(), "steps/s")
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(waits)
			b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "µs-ready-to-leased-p50")
		})
	}
}

// BenchmarkCachedGraph is what a leader does for a graph of 1,000 steps that are all in its index.
func BenchmarkCachedGraph(b *testing.B) {
	f := newFarm(b, "")
	body := []byte("x")
	data, err := artifact.Encode(&artifact.Artifact{Digest: cache.SumBytes(body), Size: 1, Extents: []artifact.Extent{{Length: 1, Inline: body}}})
	if err != nil {
		b.Fatal(err)
	}
	g := wide(1000)
	l, _ := f.coord.current()
	for i, node := range g.Nodes {
		key := step.Key(node.Kind, node.Version, node.Params, "", nil).String()
		out := f.blob(append(data, fmt.Append(nil, i)...))
		if i == 999 {
			out = f.blob(data)
		}
		l.results.Index.Put(key, &kilnv1.Result{Key: key, Outputs: []*kilnv1.Output{{Name: "out", Digest: out}}, References: []string{out}})
	}
	w := f.builder("b", g, nil)
	w.fast = true
	for n := 0; b.Loop(); n++ {
		spec := f.spec()
		spec.Config = f.blob(fmt.Append(nil, "c", n))
		if s := f.watch(f.submit(spec), 0); s.last.GetState() != kilnv1.BuildState_BUILD_STATE_DONE {
			b.Fatal(s.last)
		}
	}
}

// BenchmarkStart is how long a farm in memory takes until it leads.
func BenchmarkStart(b *testing.B) {
	f := newFarm(b, "")
	f.close()
	for b.Loop() {
		f.start()
		b.StopTimer()
		f.close()
		b.StartTimer()
	}
}
