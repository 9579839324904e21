package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/anishathalye/porcupine"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache/s3"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/lab"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	shortRun    = 30 * time.Second // of faults, in make test
	clients     = 3
	observers   = 3
	breath      = 500 * time.Millisecond // between two faults
	backupEvery = time.Second
	drain       = 90 * time.Second // until what was begun has ended
	firstBuild  = time.Minute
	finding     = 20 * time.Second // until there was a chance for a fault, such as a builder at work
	judgement   = 2 * time.Minute  // that porcupine may take
)

// TestAFarmGoesOnWhateverBreaks is the whole of this package; see its comment.
func TestAFarmGoesOnWhateverBreaks(t *testing.T) {
	if testing.Short() {
		t.Skip("a farm of processes; not in -short")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("kiln is built for this: ", err)
	}
	span, short := shortRun, true
	if text := os.Getenv("KILN_CHAOS"); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil {
			t.Fatalf("KILN_CHAOS=%s: it is how long faults go on, such as 5m", text)
		}
		short = false
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("KILN_CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("KILN_CHAOS_SEED=%s: it is a number", text)
		}
	}
	dir := os.Getenv("KILN_CHAOS_REPORT")
	if dir == "" {
		dir = t.TempDir()
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("KILN_CHAOS_SEED=%d repeats this order of faults", seed)
	run(t, dir, seed, span, short)
}

func run(t *testing.T, dir string, seed uint64, span time.Duration, short bool) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := newWorld(ctx, t, dir, seed)
	r := &report{Seed: seed, Injected: map[string]int{}, Requests: map[string]int{}, Recovery: map[string]int{}}
	begin := time.Now()

	work := t.TempDir()
	l := &load{kiln: w.farm.Coordinators()[0].Binary, dir: work, farm: w.farm.URL(), credentials: w.farm.Admin, images: w.images, seed: seed}
	spec := observed(ctx, t, w, l)
	stop := make(chan struct{})
	var building, watching sync.WaitGroup
	for n := range clients {
		building.Go(func() { l.run(ctx, stop, n) })
	}
	watch, stopWatching := context.WithCancel(ctx)
	seen := newSightings()
	watching.Go(func() { w.watch(watch, seen) })
	h := &history{}
	shared := &recent{}
	for n := range observers {
		o := &observer{id: n, history: h, random: rand.New(rand.NewPCG(seed, uint64(100+n))), spec: spec, start: begin, recent: shared}
		for _, c := range w.farm.Coordinators() {
			api, err := w.farm.API(c)
			if err != nil {
				t.Fatal(err)
			}
			o.apis = append(o.apis, api)
		}
		watching.Go(func() { o.run(watch, 60*time.Millisecond) })
	}

	w.breakThings(ctx, t, r, begin.Add(span), short)
	close(stop)
	ended := make(chan struct{})
	go func() { building.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(drain):
		w.tellState(t)
		t.Errorf("after %s without faults there are builds that have not ended", drain)
		cancel()
		<-ended
	}
	stopWatching()
	watching.Wait()
	w.settle(ctx, t, r)
	w.judge(t, r, l, seen, h)

	r.Seconds = time.Since(begin).Seconds()
	if err := lab.WriteReport(dir, "chaos", r, r.text()); err != nil {
		t.Error(err)
	}
	t.Log(r.text())
}

// observed is the spec that observers submit: that of a build that the farm has done before.
func observed(ctx context.Context, t *testing.T, w *world, l *load) *kilnv1.BuildSpec {
	t.Helper()
	first, cancel := context.WithTimeout(ctx, firstBuild)
	defer cancel()
	if err := l.one(first, 0, 0); err != nil {
		t.Fatal(err)
	}
	api, err := w.farm.API(w.farm.Coordinators()[0])
	if err != nil {
		t.Fatal(err)
	}
	list, err := api.ListBuilds(ctx, connect.NewRequest(&kilnv1.ListBuildsRequest{Team: "default"}))
	if err != nil || len(list.Msg.GetBuilds()) == 0 {
		t.Fatalf("the farm lists no build: %v", err)
	}
	return proto.CloneOf(list.Msg.GetBuilds()[0].GetSpec())
}

// watch looks at backups of the state until ctx ends.
func (w *world) watch(ctx context.Context, s *sightings) {
	for ctx.Err() == nil {
		var backup bytes.Buffer
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := w.farm.Backup(one, &backup)
		cancel()
		if err == nil {
			m, err := state.Restore(&backup)
			if err != nil {
				s.faults = append(s.faults, fmt.Sprintf("a backup cannot be read: %v", err))
			} else {
				s.look(m)
			}
		}
		w.sleep(ctx, backupEvery)
	}
}

// breakThings injects one fault after the other until the end: every kind once in an order that the seed decides, and
// so again.
func (w *world) breakThings(ctx context.Context, t *testing.T, r *report, end time.Time, short bool) {
	var todo, nodes, store []fault
	for _, f := range faults {
		switch {
		case f.root && w.network == nil:
			r.Skipped = append(r.Skipped, f.kind+": needs root")
			continue
		case f.long && short:
			r.Skipped = append(r.Skipped, f.kind+": only in make chaos")
			continue
		case f.store:
			store = append(store, f)
		default:
			nodes = append(nodes, f)
		}
		todo = append(todo, f)
	}
	if short {
		w.haste = 3
	}
	var both sync.WaitGroup
	for _, list := range [][]fault{nodes, store} {
		own := *w
		own.random = rand.New(rand.NewPCG(r.Seed, w.random.Uint64()))
		both.Go(func() { own.oneAfterTheOther(ctx, t, r, end, list) })
	}
	both.Wait()
	for _, f := range todo {
		if r.Injected[f.kind] == 0 {
			r.Skipped = append(r.Skipped, f.kind+": no time was left")
		}
	}
}

// oneAfterTheOther injects faults of a list until the end.
func (w *world) oneAfterTheOther(ctx context.Context, t *testing.T, r *report, end time.Time, list []fault) {
	for time.Now().Before(end) && ctx.Err() == nil {
		w.random.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
		for _, f := range list {
			if !time.Now().Before(end) || ctx.Err() != nil {
				return
			}
			w.inject(ctx, t, r, f)
			w.sleep(ctx, breath)
		}
	}
}

func (w *world) inject(ctx context.Context, t *testing.T, r *report, f fault) {
	one, cancel := context.WithTimeout(ctx, finding+wholeAgain)
	defer cancel()
	begun := time.Now()
	err := f.inject(one, w)
	if errors.Is(err, errIdle) {
		return
	}
	if err != nil {
		t.Errorf("%s: %v", f.kind, err)
	}
	over := time.Now()
	if !f.store { // the other list sees to the nodes, and the store is as it was
		w.mend(ctx, t, f.kind)
	}
	r.mu.Lock()
	r.Injected[f.kind]++
	r.Recovery[f.kind] = max(r.Recovery[f.kind], int(time.Since(over).Milliseconds()))
	r.mu.Unlock()
	t.Logf("%s  %s took %.1f s, and the farm was whole after another %.1f s", begun.Format("15:04:05"), f.kind, over.Sub(begun).Seconds(), time.Since(over).Seconds())
}

// mend waits until the farm is whole, which it must become by itself.
func (w *world) mend(ctx context.Context, t *testing.T, after string) {
	err := w.await(ctx)
	if err == nil {
		return
	}
	t.Errorf("after %s: %v", after, err)
	for _, n := range w.farm.Nodes() {
		if n.Running() {
			continue
		}
		t.Errorf("%s has ended: %s", n.Name, n.Said())
		if err := n.Start(); err != nil {
			t.Error(err)
		}
	}
}

// settle waits until the farm has nothing to do, and ends it in good order.
func (w *world) settle(ctx context.Context, t *testing.T, r *report) {
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	for {
		status, err := w.farm.Status(ctx)
		if err == nil && status.GetBuilds() == 0 {
			break
		}
		if ctx.Err() != nil {
			r.Unaccounted = int(status.GetBuilds())
			w.tellState(t)
			t.Errorf("after %s the farm still has %d builds that have not ended (%v)", drain, status.GetBuilds(), err)
			break
		}
		w.sleep(ctx, 100*time.Millisecond)
	}
	for _, n := range append(w.farm.Builders(), w.farm.Coordinators()...) {
		if err := n.Terminate(ctx); err != nil {
			t.Errorf("the end of %s: %v", n.Name, err)
		}
	}
}

// tellState logs what the farm still has to do, for whoever looks for the reason.
func (w *world) tellState(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var backup bytes.Buffer
	if err := w.farm.Backup(ctx, &backup); err != nil {
		t.Log("no backup:", err)
		return
	}
	m, err := state.Restore(&backup)
	if err != nil {
		t.Log(err)
		return
	}
	t.Logf("the state's time is %s", time.UnixMilli(m.Now()).Format(time.RFC3339))
	for _, task := range m.Tasks() {
		if task.State == state.Made {
			continue
		}
		build, node := m.NodeOf(task)
		t.Logf("build %s (%s): %s %q is in state %d since lease %d at %q, not before %+d ms, attempts %d", build.Spec.GetName(), build.Spec.GetId(),
			node.Spec.GetKind(), node.Spec.GetLabel(), task.State, task.Lease, task.Builder, task.NotBefore-m.Now(), task.Attempts)
	}
}

// judge compares everything with what it should be.
func (w *world) judge(t *testing.T, r *report, l *load, seen *sightings, h *history) {
	ctx := context.Background()
	contradiction := func(text string) {
		r.Contradicted++
		t.Error(text)
	}
	for _, text := range append(l.errors, l.faults...) {
		contradiction(text)
	}
	r.Builds, r.Detached, r.Again = l.Builds, l.Detached, l.Again
	r.Backups = seen.seen
	for _, text := range seen.faults {
		contradiction(text)
	}

	dirs := map[string]string{}
	for _, c := range w.farm.Coordinators() {
		dirs[c.Name] = c.Data
	}
	all, err := replicas(dirs)
	if err != nil || len(all) == 0 {
		t.Fatalf("the coordinators' logs: %v", err)
	}
	commit := committed(all)
	if file, err := os.Create(filepath.Join(w.dir, "entries.txt")); err != nil {
		t.Error(err)
	} else if err := errors.Join(all[len(all)-1].tell(file), file.Close()); err != nil {
		t.Error(err)
	}
	differences, compared := compare(all, commit)
	for _, text := range differences {
		contradiction(text)
	}
	book, err := replay(all, commit)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range book.finish() {
		contradiction(text)
	}
	r.Entries, r.Compared, r.Granted, r.Completed = book.Entries, compared, book.Granted, book.Completed
	r.Stale, r.Expired, r.Released = book.Stale, book.Expired, book.Released

	config, err := w.server.Config("chaos", "")
	if err != nil {
		t.Fatal(err)
	}
	store, err := s3.Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inspect(ctx, store, openDir(t, filepath.Join(l.dir, "reference")), book.made, w.spoiled)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range in.faults {
		contradiction(text)
	}
	r.Blobs, r.Results, r.Equal = in.Blobs, in.Results, in.Compared

	verdict, operations := h.check(judgement)
	r.Operations = operations
	if verdict != porcupine.Ok {
		contradiction(fmt.Sprintf("what clients saw is not linearizable: %s", verdict))
		for _, line := range h.worst() {
			t.Log(line)
		}
	}
	for kind, n := range w.proxy.Counts() {
		r.Requests[string(kind)] = n
	}
	for what, n := range map[string]int{"builds": r.Builds, "leases": r.Granted, "completions": r.Completed, "blobs": r.Blobs, "results to compare": r.Equal, "operations": r.Operations, "backups": r.Backups} {
		if n == 0 {
			t.Errorf("there were no %s: this run checked nothing of them", what)
		}
	}
}
