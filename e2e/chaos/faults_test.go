package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/internal/lab"
)

const (
	oneHour   = time.Hour
	roomLeft  = 0                // bytes on a full disk
	pastLease = 25 * time.Second // longer than a lease lives without its builder
	// wholeAgain is how long a farm may take to be whole after a fault is over.
	wholeAgain = 90 * time.Second
)

// fault is one thing that goes wrong, and is over when its function returns: what it killed is started again, what it
// cut is healed.
type fault struct {
	kind   string
	root   bool // it needs a network or a disk that only root can make
	long   bool // it takes too long for the short run
	store  bool // it befalls the S3 server, and may come together with one that befalls nodes
	inject func(ctx context.Context, w *world) error
}

// faults are all of them.
var faults = []fault{
	{kind: "kill -9 the leader", inject: killLeader},
	{kind: "kill -9 a follower", inject: killFollower},
	{kind: "kill -9 a builder in a step", inject: killBuilderInStep},
	{kind: "kill -9 a builder in an upload", inject: killBuilderInUpload},
	{kind: "kill -9 all coordinators", inject: killCoordinators},
	{kind: "leader cut off with some builders", root: true, inject: func(ctx context.Context, w *world) error { return cutLeader(ctx, w, true) }},
	{kind: "leader cut off without builders", root: true, inject: func(ctx context.Context, w *world) error { return cutLeader(ctx, w, false) }},
	{kind: "builder cut off", root: true, inject: cutBuilder},
	{kind: "leader paused", inject: pauseLeader},
	{kind: "builder paused past its lease", long: true, inject: pauseBuilder},
	{kind: "S3 slow", store: true, inject: bucket(s3test.Slow, 0.5, 4*time.Second)},
	{kind: "S3 answers 500", store: true, inject: bucket(s3test.Errors, 0.3, 4*time.Second)},
	{kind: "S3 drops connections", store: true, inject: bucket(s3test.Drop, 0.3, 4*time.Second)},
	{kind: "S3 says that blobs are not there", store: true, long: true, inject: bucket(s3test.Lose, 0.1, 3*time.Second)},
	{kind: "S3 flips bits", store: true, inject: bucket(s3test.Flip, 0.2, 4*time.Second)},
	{kind: "S3 away for 4 s", store: true, inject: bucket(s3test.Down, 1, 4*time.Second)},
	{kind: "S3 away for a minute", store: true, long: true, inject: bucket(s3test.Down, 1, time.Minute)},
	{kind: "objects lost for good", store: true, long: true, inject: loseObjects},
	{kind: "objects damaged for good", store: true, long: true, inject: damageObjects},
	{kind: "coordinator's disk full", root: true, long: true, inject: fillCoordinator},
	{kind: "builder's disk full", root: true, long: true, inject: fillBuilder},
	{kind: "leader's clock an hour ahead", long: true, inject: func(ctx context.Context, w *world) error { return wrongClock(ctx, w, oneHour) }},
	{kind: "leader's clock an hour behind", inject: func(ctx context.Context, w *world) error { return wrongClock(ctx, w, -oneHour) }},
}

// hold waits between the begin and the end of a fault.
func (w *world) hold(ctx context.Context, least, most time.Duration) {
	w.sleep(ctx, least+time.Duration(w.random.Int64N(int64(most-least)+1))/w.haste)
}

func (w *world) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func pick[T any](random *rand.Rand, all []T) T { return all[random.IntN(len(all))] }

// killAndBack kills nodes, waits a while, and starts them again.
func killAndBack(ctx context.Context, w *world, nodes ...*lab.Node) error {
	return lab.KillAndBack(func() { w.hold(ctx, 200*time.Millisecond, 3*time.Second) }, nodes...)
}

func killLeader(ctx context.Context, w *world) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	return killAndBack(ctx, w, leader)
}

// follower is one of the coordinators that do not lead.
func (w *world) follower(ctx context.Context) (*lab.Node, error) {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return nil, err
	}
	return pick(w.random, without(w.farm.Coordinators(), leader)), nil
}

func without(nodes []*lab.Node, not *lab.Node) (rest []*lab.Node) {
	for _, n := range nodes {
		if n != not {
			rest = append(rest, n)
		}
	}
	return rest
}

func killFollower(ctx context.Context, w *world) error {
	n, err := w.follower(ctx)
	if err != nil {
		return err
	}
	return killAndBack(ctx, w, n)
}

func killCoordinators(ctx context.Context, w *world) error {
	return killAndBack(ctx, w, w.farm.Coordinators()...)
}

// killBuilderInStep asks until a builder is at work, and kills that one.
func killBuilderInStep(ctx context.Context, w *world) error {
	for ctx.Err() == nil {
		status, err := w.farm.Status(ctx)
		if err != nil {
			return err
		}
		for _, worker := range status.GetWorkers() {
			if worker.GetLeased() == 0 {
				continue
			}
			for _, b := range w.farm.Builders() {
				if b.Name == worker.GetId() {
					return killAndBack(ctx, w, b)
				}
			}
		}
		w.sleep(ctx, 5*time.Millisecond)
	}
	return ctx.Err()
}

// killBuilderInUpload waits until one of the builders sends a blob to the cache, and kills it before the end.
func killBuilderInUpload(ctx context.Context, w *world) error {
	b := pick(w.random, w.farm.Builders())
	select {
	case <-w.gates[b.Name].upload():
		return killAndBack(ctx, w, b)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cutLeader cuts the leader off from the other coordinators; half of the builders stay with it, or all are with the
// others. Clients and the cache reach everyone.
func cutLeader(ctx context.Context, w *world, builders bool) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	for _, c := range without(w.farm.Coordinators(), leader) {
		err = errors.Join(err, w.network.Cut(leader, c))
	}
	for i, b := range w.farm.Builders() {
		if !builders || i%2 == 0 {
			err = errors.Join(err, w.network.Cut(leader, b))
			continue
		}
		for _, c := range without(w.farm.Coordinators(), leader) {
			err = errors.Join(err, w.network.Cut(c, b))
		}
	}
	w.hold(ctx, 2*time.Second, 6*time.Second)
	return errors.Join(err, w.network.Heal())
}

func cutBuilder(ctx context.Context, w *world) error {
	err := w.network.Isolate(pick(w.random, w.farm.Builders()), true)
	w.hold(ctx, 2*time.Second, 6*time.Second)
	return errors.Join(err, w.network.Heal())
}

func pauseLeader(ctx context.Context, w *world) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	if err := leader.Pause(); err != nil {
		return err
	}
	w.hold(ctx, 2*time.Second, 5*time.Second)
	return leader.Resume()
}

func pauseBuilder(ctx context.Context, w *world) error {
	b := pick(w.random, w.farm.Builders())
	if err := b.Pause(); err != nil {
		return err
	}
	w.sleep(ctx, pastLease)
	return b.Resume()
}

func bucket(f s3test.Fault, rate float64, long time.Duration) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		w.proxy.Set(f, rate)
		w.sleep(ctx, long)
		w.proxy.Calm()
		return nil
	}
}

// blobs are the paths of blobs in the S3 server's directory.
func (w *world) blobs() (paths []string, err error) {
	root := filepath.Join(w.server.Dir(), "chaos", "blobs")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return paths, err
}

// loseObjects deletes some blobs from the cache. What needs them has to be made again.
func loseObjects(_ context.Context, w *world) error {
	paths, err := w.blobs()
	if err != nil || len(paths) == 0 {
		return errors.Join(err, errIdle)
	}
	for range max(1, len(paths)/20) {
		if err := os.Remove(pick(w.random, paths)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// damageObjects flips a bit of some blobs in the cache. Nobody may take them for what they were.
func damageObjects(_ context.Context, w *world) error {
	paths, err := w.blobs()
	if err != nil || len(paths) == 0 {
		return errors.Join(err, errIdle)
	}
	for range max(1, len(paths)/20) {
		path := pick(w.random, paths)
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		var b [1]byte
		if _, err = file.ReadAt(b[:], 0); err == nil {
			b[0] ^= 1
			_, err = file.WriteAt(b[:], 0)
		}
		if err := errors.Join(err, file.Close()); err != nil && !strings.Contains(err.Error(), "EOF") {
			return err
		}
		w.spoiled["sha256:"+filepath.Base(path)] = true
	}
	return nil
}

// errIdle: there was nothing to break yet.
var errIdle = errors.New("there is nothing to break yet")

func fillCoordinator(ctx context.Context, w *world) error {
	return fill(ctx, w, pick(w.random, w.farm.Coordinators()))
}

func fillBuilder(ctx context.Context, w *world) error {
	return fill(ctx, w, pick(w.random, w.farm.Builders()))
}

// fill leaves a node no room on its disk for a while. It may go on, refuse work or end; when there is room again an
// operator would start it.
func fill(ctx context.Context, w *world, n *lab.Node) error {
	if n.Disk() == nil {
		return fmt.Errorf("%s has no disk of its own", n.Name)
	}
	if err := n.Disk().Fill(roomLeft); err != nil {
		return err
	}
	w.hold(ctx, 3*time.Second, 6*time.Second)
	if err := n.Disk().Free(); err != nil {
		return err
	}
	if n.Fell() { // as one without room may; an operator would start it
		return n.Start()
	}
	return nil
}

// wrongClock gives the leader another time of day, lets it lead again if it will, and then the right time.
func wrongClock(ctx context.Context, w *world, offset time.Duration) error {
	leader, err := w.farm.Leader(ctx)
	if err != nil {
		return err
	}
	for _, wrong := range []time.Duration{offset, 0} {
		if err := leader.Kill(); err != nil {
			return err
		}
		leader.ClockOffset = wrong
		if err := leader.Start(); err != nil {
			return err
		}
		if wrong == 0 {
			return nil
		}
		if err := w.await(ctx); err != nil {
			return err
		}
		if err := w.lead(ctx, leader); err != nil {
			return err
		}
		w.hold(ctx, time.Second, 4*time.Second)
	}
	return nil
}

// lead makes one coordinator the leader, by killing whoever else leads.
func (w *world) lead(ctx context.Context, wanted *lab.Node) error {
	for range 6 {
		leader, err := w.farm.Leader(ctx)
		if err == nil && leader == wanted {
			return nil
		}
		if err == nil {
			if err := leader.Kill(); err != nil {
				return err
			}
			if err := w.farm.AwaitLeader(ctx); err != nil {
				return err
			}
			if err := leader.Start(); err != nil {
				return err
			}
		}
		if err := w.await(ctx); err != nil {
			return err
		}
	}
	return nil // it did not come to that; its clock was wrong all the same
}
