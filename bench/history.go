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

// measureHistory runs many small builds and looks at the leader's memory before and after: what has ended must leave
// the state.
func measureHistory(ctx context.Context, o options) ([]table, error) {
	f, err := newFarmBench(ctx, o, "history")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.close() }() // the figures are there
	if err := f.work(2, 64, 0); err != nil {
		return nil, err
	}
	spec, err := f.spec(ctx, grid(5, 1))
	if err != nil {
		return nil, err
	}
	if _, err := f.build(ctx, spec); err != nil {
		return nil, err
	}
	before, err := f.memory(ctx)
	if err != nil {
		return nil, err
	}
	var left atomic.Int64
	left.Store(int64(o.finished))
	var group sync.WaitGroup
	var once sync.Once
	var fault error
	begun := time.Now()
	for range 32 {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				mine := proto.CloneOf(spec)
				mine.Id = uuid.Must(uuid.NewV7()).String()
				if _, err := f.build(ctx, mine); err != nil {
					once.Do(func() { fault = err })
					return
				}
			}
		})
	}
	group.Wait()
	if fault != nil {
		return nil, fault
	}
	took := time.Since(begun)
	after, err := f.memory(ctx)
	if err != nil {
		return nil, err
	}
	t := table{Title: "History: what is left in the leader's memory of builds that have ended", Columns: []string{"figure"}}
	t.add("memory of the leader before", map[string]float64{"rss_mib": before}, fmt.Sprintf("%.0f MiB", before))
	t.add(fmt.Sprintf("after %d finished builds of 5 cached steps", o.finished), map[string]float64{"rss_mib": after, "builds": float64(o.finished)}, fmt.Sprintf("%.0f MiB", after))
	rate := float64(o.finished) / took.Seconds()
	t.add("builds, 32 at a time", map[string]float64{"builds_per_s": rate}, fmt.Sprintf("%.0f builds/s", rate))
	return []table{t}, nil
}
