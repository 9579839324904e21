package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
)

// cached builds a graph of 1,000 steps again that was built before: under another name, so that its plan is new and
// every step is looked up.
func (f *farmBench) cached(ctx context.Context, t *table) error {
	if err := f.work(2, 256, 0); err != nil {
		return err
	}
	g := grid(1000, 1)
	if _, err := f.run(ctx, g); err != nil {
		return err
	}
	again := func() (time.Duration, error) {
		g.Nodes = append(g.Nodes, benchNode(uuid.NewString(), 0)) // one step is new
		return f.run(ctx, g)
	}
	var warm []time.Duration
	for range 9 {
		took, err := again()
		if err != nil {
			return err
		}
		warm = append(warm, took)
	}
	p50 := ms(quantile(warm, 0.5))
	t.add("1,000 steps that are all cached and one that is not, index warm", map[string]float64{"p50_ms": p50}, fmt.Sprintf("%.1f ms", p50))

	for _, c := range f.Coordinators() {
		if err := c.Kill(); err != nil {
			return err
		}
	}
	for _, c := range f.Coordinators() { // all at once: one alone is no majority
		if err := c.Start(); err != nil {
			return err
		}
	}
	if err := f.Await(ctx); err != nil {
		return err
	}
	if err := f.connect(ctx); err != nil {
		return err
	}
	if err := f.work(2, 256, 0); err != nil {
		return err
	}
	took, err := again()
	if err != nil {
		return err
	}
	t.add("the same, all coordinators new and their index cold, results in a directory", map[string]float64{"ms": ms(took)}, fmt.Sprintf("%.1f ms", ms(took)))
	return nil
}

// storm is what a farm does when many clients build what was built before.
func (f *farmBench) storm(ctx context.Context, t *table) error {
	if err := f.work(2, 64, 0); err != nil {
		return err
	}
	g := grid(40, 1)
	spec, err := f.spec(ctx, g)
	if err != nil {
		return err
	}
	if _, err := f.build(ctx, spec); err != nil {
		return err
	}
	const clients, each = 64, 20
	var mu sync.Mutex
	var all []time.Duration
	var failed atomic.Int32
	var group sync.WaitGroup
	begun := time.Now()
	for range clients {
		group.Go(func() {
			for range each {
				mine := proto.CloneOf(spec)
				mine.Id = uuid.Must(uuid.NewV7()).String()
				took, err := f.build(ctx, mine)
				if err != nil {
					failed.Add(1)
					continue
				}
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d of %d builds of the storm failed", n, clients*each)
	}
	rate := float64(len(all)) / time.Since(begun).Seconds()
	p50, p99 := ms(quantile(all, 0.5)), ms(quantile(all, 0.99))
	t.add("cache-hit storm: 64 clients build a cached build of 40 steps again and again", map[string]float64{"builds_per_s": rate, "p50_ms": p50, "p99_ms": p99},
		fmt.Sprintf("%.0f builds/s, p50 %.0f ms, p99 %.0f ms", rate, p50, p99))
	return nil
}
