package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// measureFailover kills the leader again and again while builds run, and looks how long it takes until somebody else
// has leased a step. No build may be lost.
func measureFailover(ctx context.Context, o options) ([]table, error) {
	f, err := newFarmBench(ctx, o, "failover")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.close() }() // the figures are there
	if err := f.work(2, 16, 10*time.Millisecond); err != nil {
		return nil, err
	}
	load := &steadyLoad{f: f}
	running, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { load.run(running) })
	defer group.Wait()
	defer stop()

	var gaps []time.Duration
	for range o.kills {
		gap, err := f.killLeader(ctx)
		if err != nil {
			return nil, err
		}
		gaps = append(gaps, gap)
	}
	stop()
	group.Wait()
	if err := load.finish(ctx); err != nil {
		return nil, err
	}
	slices.Sort(gaps)
	t := table{Title: fmt.Sprintf("Failover: %d kills (SIGKILL) of the leader of three, under load", len(gaps)), Columns: []string{"figure"}}
	middle, worst := gaps[len(gaps)/2], gaps[len(gaps)-1]
	t.add("leader killed to the next lease, median", map[string]float64{"ms": ms(middle)}, fmt.Sprintf("%.0f ms", ms(middle)))
	t.add("the same, worst", map[string]float64{"ms": ms(worst)}, fmt.Sprintf("%.0f ms", ms(worst)))
	t.add("builds submitted, and how many of them were lost or ended badly", map[string]float64{"builds": float64(load.submitted), "lost": float64(load.lost)},
		fmt.Sprintf("%d, %d", load.submitted, load.lost))
	return []table{t}, nil
}

// killLeader kills the leader, waits for the first lease of the next one, and brings the last one back.
func (f *farmBench) killLeader(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := f.Await(ctx); err != nil {
		return 0, err
	}
	lead, err := f.Leader(ctx)
	if err != nil {
		return 0, err
	}
	var others []kilnv1connect.FarmServiceClient
	for _, c := range f.Coordinators() {
		if c != lead {
			api, err := f.API(c)
			if err != nil {
				return 0, err
			}
			others = append(others, api)
		}
	}
	killed := time.Now()
	if err := lead.Kill(); err != nil {
		return 0, err
	}
	for {
		for _, api := range others {
			// A leader counts the leases since it leads: one is enough.
			one, cancel := context.WithTimeout(ctx, time.Second)
			s, err := api.Status(one, connect.NewRequest(&kilnv1.StatusRequest{}))
			cancel()
			if err == nil && s.Msg.GetLeases() > 0 {
				gap := time.Since(killed)
				return gap, lead.Start()
			}
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("a minute after %s was killed nobody has leased a step: %w", lead.Name, ctx.Err())
		}
	}
}

// steadyLoad keeps a few builds under way.
type steadyLoad struct {
	f         *farmBench
	submitted int
	lost      int
	ids       []string
}

func (l *steadyLoad) run(ctx context.Context) {
	for ctx.Err() == nil {
		spec, err := l.f.spec(ctx, grid(16, 20))
		if err != nil {
			return
		}
		if l.submit(ctx, spec) {
			l.submitted++
			l.ids = append(l.ids, spec.GetId())
		}
		select {
		case <-time.After(150 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// submit repeats until somebody has taken the build, as kiln build does.
func (l *steadyLoad) submit(ctx context.Context, spec *kilnv1.BuildSpec) bool {
	for ctx.Err() == nil {
		for _, c := range l.f.Coordinators() {
			api, err := l.f.API(c)
			if err != nil {
				return false
			}
			one, cancel := context.WithTimeout(ctx, 5*time.Second)
			_, err = api.Submit(one, connect.NewRequest(&kilnv1.SubmitRequest{Spec: spec}))
			cancel()
			if err == nil {
				return true
			}
		}
	}
	return false
}

// finish waits for all that were taken, and counts those that are lost or did not end well.
func (l *steadyLoad) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, farmTimeout)
	defer cancel()
	if err := l.f.Await(ctx); err != nil {
		return err
	}
	if err := l.f.connect(ctx); err != nil {
		return err
	}
	for _, id := range l.ids {
		for {
			res, err := l.f.client.GetBuild(ctx, connect.NewRequest(&kilnv1.GetBuildRequest{Team: "bench", Id: id}))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && connect.CodeOf(err) != connect.CodeNotFound {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			state := res
			if err != nil || state.Msg.GetBuild().GetState() > kilnv1.BuildState_BUILD_STATE_DONE {
				l.lost++
				break
			}
			if state.Msg.GetBuild().GetState() == kilnv1.BuildState_BUILD_STATE_DONE {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return nil
}
