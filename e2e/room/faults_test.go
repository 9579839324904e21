package room

import (
	"context"
	"errors"
	"time"

	"github.com/kiln-farm/kiln/internal/lab"
)

// fault is one thing that goes wrong, and is over when its function returns.
type fault struct {
	kind   string
	long   bool // it takes too long for the short run
	inject func(ctx context.Context, w *world) error
}

// faults are all of them.
var faults = []fault{
	{"kill -9 an edge", false, func(ctx context.Context, w *world) error { return w.kill(ctx, pick(w.random, w.farm.Edges())) }},
	{"kill -9 all edges", false, func(ctx context.Context, w *world) error { return w.kill(ctx, w.farm.Edges()...) }},
	{"kill -9 the leader", false, killLeader},
	{"kill -9 a follower", true, killFollower},
	{"kill -9 all coordinators", false, func(ctx context.Context, w *world) error { return w.kill(ctx, w.farm.Coordinators()...) }},
	{"an edge cut off from the coordinators", false, cutEdge},
	{"an edge cut off from the leader only", true, cutEdgeFromLeader},
	{"the leader cut off from the others", false, cutLeader},
	{"the leader cut off with an edge", true, cutLeaderWithEdge},
	{"an edge paused", false, func(ctx context.Context, w *world) error { return w.pause(ctx, pick(w.random, w.farm.Edges())) }},
	{"the leader paused", true, pauseLeader},
	{"the farm away for longer than a lease", true, farmAway},
	{"the leader's clock an hour ahead", true, func(ctx context.Context, w *world) error { return w.wrongClock(ctx, time.Hour) }},
	{"the leader's clock an hour behind", true, func(ctx context.Context, w *world) error { return w.wrongClock(ctx, -time.Hour) }},
	{"an edge's clock an hour ahead", true, wrongEdge},
}

// kill kills nodes in one moment, waits a while, and starts them again.
func (w *world) kill(ctx context.Context, nodes ...*lab.Node) error {
	return lab.KillAndBack(func() { w.hold(ctx, 200*time.Millisecond, 3*time.Second) }, nodes...)
}

func killLeader(ctx context.Context, w *world) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	return w.kill(ctx, leader)
}

func killFollower(ctx context.Context, w *world) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	return w.kill(ctx, pick(w.random, without(w.farm.Coordinators(), leader)))
}

// cut cuts each of some nodes off from each of the others for a while.
func (w *world) cut(ctx context.Context, some, others []*lab.Node) error {
	var err error
	for _, a := range some {
		for _, b := range others {
			err = errors.Join(err, w.network.Cut(a, b))
		}
	}
	w.hold(ctx, 3*time.Second, 7*time.Second)
	return errors.Join(err, w.network.Heal())
}

func cutEdge(ctx context.Context, w *world) error {
	return w.cut(ctx, []*lab.Node{pick(w.random, w.farm.Edges())}, w.farm.Coordinators())
}

func cutEdgeFromLeader(ctx context.Context, w *world) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	return w.cut(ctx, []*lab.Node{leader}, []*lab.Node{pick(w.random, w.farm.Edges())})
}

func cutLeader(ctx context.Context, w *world) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	return w.cut(ctx, []*lab.Node{leader}, without(w.farm.Coordinators(), leader))
}

// cutLeaderWithEdge leaves an edge with a leader that has no majority, and the other edges with the rest.
func cutLeaderWithEdge(ctx context.Context, w *world) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	edge := pick(w.random, w.farm.Edges())
	others := append(without(w.farm.Coordinators(), leader), without(w.farm.Edges(), edge)...)
	return w.cut(ctx, []*lab.Node{leader, edge}, others)
}

func (w *world) pause(ctx context.Context, n *lab.Node) error {
	if err := n.Pause(); err != nil {
		return err
	}
	w.hold(ctx, 2*time.Second, 8*time.Second)
	return n.Resume()
}

func pauseLeader(ctx context.Context, w *world) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	return w.pause(ctx, leader)
}

// farmAway ends all coordinators for so long that leases run out, and their time with them if it were of the wall.
func farmAway(ctx context.Context, w *world) error {
	return lab.KillAndBack(func() { w.sleep(ctx, longLease+5*time.Second) }, w.farm.Coordinators()...)
}

// wrongClock gives the leader another time of day, lets it lead again if it comes to that, and then the right time.
func (w *world) wrongClock(ctx context.Context, offset time.Duration) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	leader.ClockOffset = offset
	defer func() { leader.ClockOffset = 0 }()
	if err := w.kill(ctx, leader); err != nil {
		return err
	}
	for range 6 {
		if err := w.await(ctx); err != nil {
			return err
		}
		now, err := w.farm.Leader(ctx)
		if err != nil {
			return err
		}
		if now == leader {
			break
		}
		if err := w.kill(ctx, now); err != nil {
			return err
		}
	}
	w.hold(ctx, 2*time.Second, 5*time.Second)
	leader.ClockOffset = 0
	return w.kill(ctx, leader)
}

func wrongEdge(ctx context.Context, w *world) error {
	e := pick(w.random, w.farm.Edges())
	e.ClockOffset = time.Hour
	defer func() { e.ClockOffset = 0 }()
	if err := w.kill(ctx, e); err != nil {
		return err
	}
	w.hold(ctx, 3*time.Second, 6*time.Second)
	e.ClockOffset = 0
	return w.kill(ctx, e)
}
