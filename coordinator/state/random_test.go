package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// world makes up what a leader, its builders and its users might propose, sensible and not.
type world struct {
	t       *testing.T
	r       *rand.Rand
	m       *Machine
	now     int64
	log     [][]byte
	granted map[uint64]string // every lease number ever seen, and its task
	stale   []*kilnv1.CompleteRequest
	ids     int
	done    bool // only what brings builds to their end
}

func digest(s string) string { return cache.SumBytes([]byte(s)).String() }

func (w *world) apply(c *kilnv1.Command) Result {
	w.t.Helper()
	w.now += w.r.Int64N(50)
	entry := &kilnv1.Entry{Level: Level(), UnixMs: w.now - w.r.Int64N(20), Commands: []*kilnv1.Command{c}}
	w.keep(entry)
	out := w.m.Apply(entry)
	w.check()
	return out.Results[0]
}

// graph of up to 8 nodes out of a small world, so that builds share steps.
func (w *world) graph() []*kilnv1.AttachNode {
	var nodes []*kilnv1.AttachNode
	for i := range w.r.IntN(8) {
		n := &kilnv1.Node{Kind: step.Segment, Version: 1, Params: fmt.Append(nil, w.r.IntN(4)), Label: fmt.Sprint("n", i)}
		for range w.r.IntN(3) {
			if i == 0 || w.r.IntN(3) == 0 {
				n.Inputs = append(n.Inputs, known("d", digest(fmt.Sprint(w.r.IntN(3)))))
				continue
			}
			name := "out"
			if w.r.IntN(40) == 0 {
				name = "none"
			}
			n.Inputs = append(n.Inputs, &kilnv1.Input{Name: "i", From: &kilnv1.Input_Output{Output: &kilnv1.NodeOutput{Node: uint32(w.r.IntN(i)), Name: name}}})
		}
		nodes = append(nodes, &kilnv1.AttachNode{Node: n, Missed: w.r.IntN(2) == 0})
	}
	return nodes
}

func (w *world) result(key string) *kilnv1.Result {
	return &kilnv1.Result{Key: key, Kind: step.Segment, Outputs: outputs(key), References: []string{outputs(key)[0].Digest}}
}

// outputs of a step that is a pure function of its key; few values, so that different steps meet in one key.
func outputs(key string) []*kilnv1.Output {
	d := digest(fmt.Sprint("out", key[7:9]))
	return []*kilnv1.Output{{Name: "out", Digest: d, Size: 1}, {Name: "lock", Digest: d, Size: 1}, {Name: "graph", Digest: d, Size: 1}}
}

func pick[T any](r *rand.Rand, list []T) (v T, ok bool) {
	if len(list) == 0 {
		return v, false
	}
	return list[r.IntN(len(list))], true
}

func (w *world) step() {
	if b, ok := pick(w.r, w.m.Builds()); ok {
		w.pursue(b)
	}
	if t, ok := pick(w.r, w.m.Tasks()); ok {
		w.work(t)
	}
	if w.done {
		return
	}
	switch w.r.IntN(12) {
	case 0, 1:
		if w.r.IntN(4) > 0 {
			w.ids++
		}
		id := fmt.Sprint("build", w.ids)
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Submit{Submit: &kilnv1.SubmitCommand{
			Spec: &kilnv1.BuildSpec{Id: id, Config: digest(fmt.Sprint(w.r.IntN(2)))}, ResolveParams: []byte(id), PlanParams: []byte("p"),
		}}})
	case 2:
		if c, ok := pick(w.r, w.stale); ok { // a builder that woke up again
			if res := w.apply(&kilnv1.Command{Command: &kilnv1.Command_Complete{Complete: c}}); res.Refused != RefusedStale {
				w.t.Fatalf("an old completion of lease %d was taken", c.Number)
			}
		}
	case 3:
		if b, ok := pick(w.r, w.m.Builds()); ok && w.r.IntN(4) == 0 {
			w.apply(&kilnv1.Command{Command: &kilnv1.Command_Cancel{Cancel: &kilnv1.CancelCommand{Build: b.Spec.Id, Reason: "r"}}})
		}
	case 4:
		if b, ok := pick(w.r, w.m.Builds()); ok && w.r.IntN(4) == 0 {
			w.apply(&kilnv1.Command{Command: &kilnv1.Command_Lost{Lost: &kilnv1.LostCommand{Build: b.Spec.Id, Digest: digest(fmt.Sprintf("out%x", w.r.IntN(256)))}}})
		}
	case 5:
		w.apply(&kilnv1.Command{})
	case 6:
		w.govern()
	}
}

// govern does what operators and coordinators that come and go do.
func (w *world) govern() {
	name := fmt.Sprint(w.r.IntN(3))
	switch w.r.IntN(7) {
	case 6:
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Room{Room: &kilnv1.RoomCommand{
			Base: w.m.RoomRevision() - uint64(w.r.IntN(2)), Machines: []*kilnv1.Machine{{Name: name}}, RemoveGroups: []string{name},
			Groups: []*kilnv1.Group{{Name: fmt.Sprint(w.r.IntN(3))}}, Releases: []*kilnv1.Release{{Name: name}},
		}}})
	case 0, 1:
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Member{Member: &kilnv1.MemberCommand{
			Member: &kilnv1.Member{Id: name, Address: fmt.Sprint("host", w.r.IntN(3)), Level: uint32(1 + w.r.IntN(3))}, Remove: w.r.IntN(4) == 0, Bar: w.r.IntN(8) == 0,
		}}})
	case 2:
		before, next := w.m.FeatureLevel(), w.m.NextLevel()
		level := uint32(w.r.IntN(4))
		res := w.apply(&kilnv1.Command{Command: &kilnv1.Command_Level{Level: &kilnv1.LevelCommand{Level: level}}})
		if raised := res.Refused == ""; raised != (level > before && level <= next) {
			w.t.Fatalf("level %d after %d with %d possible: refused %q", level, before, next, res.Refused)
		}
	case 3:
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Team{Team: &kilnv1.TeamCommand{
			Team: &kilnv1.Team{Name: name, Weight: uint32(w.r.IntN(3)), MaxLeases: 1}, Remove: w.r.IntN(4) == 0,
		}}})
	case 4, 5:
		hold := &kilnv1.HoldCommand{Builder: name, Reason: "r", Release: w.r.IntN(3) == 0}
		if w.r.IntN(2) == 0 {
			hold.Until = w.now + w.r.Int64N(500)
		}
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Hold{Hold: hold}})
	}
	members := w.m.Members()
	for i, a := range members {
		if a.GetLevel() < w.m.FeatureLevel() {
			w.t.Fatalf("member %s applies level %d of a farm of level %d", a.GetId(), a.GetLevel(), w.m.FeatureLevel())
		}
		for _, b := range members[:i] {
			if a.GetAddress() == b.GetAddress() {
				w.t.Fatalf("members %s and %s have one address", a.GetId(), b.GetId())
			}
		}
	}
}

// pursue does what the leader would do next for a build.
func (w *world) pursue(b *Build) {
	id := b.Spec.Id
	switch {
	case b.Ended():
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Forget{Forget: &kilnv1.ForgetCommand{Build: id}}})
	case b.Complete():
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Finish{Finish: &kilnv1.FinishCommand{Build: id}}})
	case b.Nodes[PlanNode].State == Done && !b.attached:
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Attach{Attach: w.attach(id)}})
	case b.PlanKey() != "" && w.r.IntN(30) == 0:
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Finish{Finish: &kilnv1.FinishCommand{Build: id, Final: true}}})
	}
}

func (w *world) attach(id string) *kilnv1.AttachCommand {
	nodes := w.graph()
	return &kilnv1.AttachCommand{Build: id, Total: uint32(len(nodes)), Nodes: nodes}
}

// work does what the leader or a builder might do with a task.
func (w *world) work(t *Task) {
	switch t.State {
	case Fresh:
		c := &kilnv1.LookedCommand{Task: t.Key}
		if w.r.IntN(3) == 0 {
			c.Hit = w.result(t.Key)
		}
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Looked{Looked: c}})
	case Ready:
		res := w.apply(&kilnv1.Command{Command: &kilnv1.Command_Lease{Lease: &kilnv1.LeaseCommand{Task: t.Key, Builder: "b"}}})
		if res.Lease == 0 {
			return
		}
		if task, again := w.granted[res.Lease]; again {
			w.t.Fatalf("lease %d was granted twice, for %s and %s", res.Lease, task, t.Key)
		}
		w.granted[res.Lease] = t.Key
	case Leased:
		w.finish(t)
	}
}

func (w *world) finish(t *Task) {
	ref := &kilnv1.LeaseRef{Epoch: w.m.Epoch(), Number: t.Lease, Task: t.Key}
	c := &kilnv1.CompleteRequest{Builder: "b", Epoch: ref.Epoch, Number: ref.Number, Task: ref.Task, Completion: kilnv1.Completion_COMPLETION_DONE, Outputs: outputs(t.Key), Error: "e"}
	how := w.r.IntN(12)
	if w.done {
		how = 11
	}
	switch how {
	case 0:
		c.Completion = kilnv1.Completion_COMPLETION_INFRA
	case 1:
		c.Completion = kilnv1.Completion_COMPLETION_FAILED
	case 2, 3:
		c.Completion, c.Missing = kilnv1.Completion_COMPLETION_INPUT_MISSING, digest(fmt.Sprint(w.r.IntN(3)))
		if b, n := w.m.NodeOf(t); len(n.Spec.Inputs) > 0 {
			inputs, _ := b.Inputs(t.Waiters[0].Node)
			c.Missing = inputs[w.r.IntN(len(inputs))].Digest.String()
		}
	case 4:
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Expire{Expire: &kilnv1.ExpireCommand{Lease: ref, Reason: "r"}}})
		w.stale = append(w.stale, c)
		return
	case 5:
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Release{Release: ref}})
		w.stale = append(w.stale, c)
		return
	case 6:
		c.Outputs = []*kilnv1.Output{{Name: "out", Digest: "nonsense"}}
	}
	if res := w.apply(&kilnv1.Command{Command: &kilnv1.Command_Complete{Complete: c}}); res.Refused != "" {
		w.t.Fatalf("a current lease's completion was refused: %s", res.Refused)
	}
	w.stale = append(w.stale, c)
}

// check says what must hold after every command.
func (w *world) check() {
	w.t.Helper()
	m := w.m
	leases := map[uint64]string{}
	for _, task := range m.Tasks() {
		if len(task.Waiters) == 0 {
			w.t.Fatalf("nobody waits for task %s", task.Key)
		}
		for _, waiter := range task.Waiters {
			b := m.Build(waiter.Build)
			if b == nil || b.Ended() || b.Nodes[waiter.Node].Key != task.Key || b.Nodes[waiter.Node].State == Waiting {
				w.t.Fatalf("task %s has a waiter that does not wait", task.Key)
			}
			if task.State != Made && b.Nodes[waiter.Node].State == Attached && b.Nodes[waiter.Node].Result != nil && b.losses == 0 {
				w.t.Fatalf("node %v has a result before its task", waiter)
			}
		}
		if (task.State == Leased) != (task.Lease != 0) {
			w.t.Fatalf("task %s in state %d has lease %d", task.Key, task.State, task.Lease)
		}
		if task.State == Leased {
			if other, twice := leases[task.Lease]; twice || w.granted[task.Lease] != "" && w.granted[task.Lease] != task.Key {
				w.t.Fatalf("lease %d is held for %s and %s", task.Lease, task.Key, other)
			}
			leases[task.Lease] = task.Key
		}
		for _, k := range task.blocks {
			if u := m.Task(k); u == nil || u.State != Blocked || u.blockedOn != task.Key {
				w.t.Fatalf("task %s blocks %s, which does not wait for it", task.Key, k)
			}
		}
		if task.State == Blocked {
			p := m.Task(task.blockedOn)
			if p == nil || p.State == Made || !contains(p.blocks, task.Key) {
				w.t.Fatalf("task %s is blocked for ever", task.Key)
			}
			seen := map[string]bool{}
			for u := task; u != nil && u.State == Blocked; u = m.Task(u.blockedOn) {
				if seen[u.Key] {
					w.t.Fatalf("tasks block each other around %s", task.Key)
				}
				seen[u.Key] = true
			}
		}
	}
	for _, b := range m.Builds() {
		open := 0
		for i, n := range b.Nodes {
			if n.State != Done {
				open++
			}
			if !b.Ended() && n.State != Waiting {
				task := m.Task(n.Key)
				if task == nil || !contains(task.Waiters, Waiter{b.Spec.Id, i}) {
					w.t.Fatalf("node %d of %s does not wait for its task", i, b.Spec.Id)
				}
				if n.State == Attached && task.State == Made {
					w.t.Fatalf("node %d of %s missed that its task is done", i, b.Spec.Id)
				}
			}
			if n.State == Waiting && n.unknown == 0 && !b.Ended() {
				w.t.Fatalf("node %d of %s waits for nothing", i, b.Spec.Id)
			}
		}
		if open != b.open {
			w.t.Fatalf("build %s counts %d open nodes, has %d", b.Spec.Id, b.open, open)
		}
	}
}

func contains[T comparable](list []T, v T) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

func snapshotOf(t *testing.T, m *Machine) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Snapshot().Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRandomHistoriesKeepTheStateSound(t *testing.T) {
	steps, seeds := 600, uint64(40)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		w := &world{t: t, r: rand.New(rand.NewPCG(seed, 0)), m: New(), now: 1_000_000, granted: map[uint64]string{}}
		w.apply(&kilnv1.Command{Command: &kilnv1.Command_Epoch{Epoch: &kilnv1.EpochCommand{Epoch: 7}}})
		var frozen *Snapshot
		var want []byte
		for i := range steps {
			w.step()
			if i == steps/2 {
				frozen, want = w.m.Snapshot(), snapshotOf(t, w.m)
			}
		}
		var kept bytes.Buffer
		if err := frozen.Write(&kept); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(kept.Bytes(), want) {
			t.Fatalf("seed %d: a snapshot changed while the machine went on", seed)
		}
		replay(t, seed, w)

		// From here on builders do their work: every build must come to an end.
		w.done = true
		for i := 0; len(w.m.builds) > 0; i++ {
			if i > 20_000 {
				t.Fatalf("seed %d: %d builds do not end", seed, len(w.m.builds))
			}
			w.step()
		}
		if len(w.m.tasks) > 0 {
			t.Fatalf("seed %d: %d tasks are left without a build", seed, len(w.m.tasks))
		}
	}
}

// replay applies the log to two machines, one of which is replaced by its own snapshot on the way.
func replay(t *testing.T, seed uint64, w *world) {
	t.Helper()
	plain, restored := New(), New()
	for i, data := range w.log {
		entry, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := Decode(data)
		a, b := plain.Apply(entry), restored.Apply(again)
		if diff := cmp.Diff(a, b, cmp.Comparer(func(a, b proto.Message) bool { return proto.Equal(a, b) })); diff != "" {
			t.Fatalf("seed %d, entry %d: outcomes differ:\n%s", seed, i, diff)
		}
		if i%97 == 50 {
			if restored, err = Restore(bytes.NewReader(snapshotOf(t, restored))); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := snapshotOf(t, w.m)
	for name, m := range map[string]*Machine{"replayed": plain, "restored": restored} {
		if !bytes.Equal(snapshotOf(t, m), want) {
			t.Fatalf("seed %d: the %s machine is not equal", seed, name)
		}
	}
}
