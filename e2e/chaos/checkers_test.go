package chaos

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Short forms of the commands that the ledger's tests are made of.
var (
	digestA = "sha256:" + strings.Repeat("a", 64)
	digestB = "sha256:" + strings.Repeat("b", 64)
)

func submitted(id string) *kilnv1.Command {
	spec := &kilnv1.BuildSpec{Id: id, Team: "t", Name: id, Config: digestA, Platforms: []string{"linux/amd64"}, Formats: []string{"tar"}, Options: &kilnv1.BuildOptions{Compress: "gzip"}}
	return &kilnv1.Command{Command: &kilnv1.Command_Submit{Submit: &kilnv1.SubmitCommand{Spec: spec, ResolveParams: []byte("{}"), PlanParams: []byte("{}")}}}
}

func lease(task, builder string) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Lease{Lease: &kilnv1.LeaseCommand{Task: task, Builder: builder, Session: "s"}}}
}

func complete(task, builder string, number uint64, digest string) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Complete{Complete: &kilnv1.CompleteRequest{
		Task: task, Builder: builder, Number: number, Completion: kilnv1.Completion_COMPLETION_DONE,
		Outputs: []*kilnv1.Output{{Name: "lock", Digest: digest, Size: 1}}, References: []string{digest},
	}}}
}

// TestTheLedgerFollowsTheStateMachine applies commands that a leader could propose, and finds nothing.
func TestTheLedgerFollowsTheStateMachine(t *testing.T) {
	l := newLedger(state.New())
	l.apply(&kilnv1.Entry{Level: 1, UnixMs: 1000, Commands: []*kilnv1.Command{submitted("b1")}})
	tasks := l.machine.Tasks()
	if len(tasks) != 1 {
		t.Fatalf("%d tasks, want the resolve step's", len(tasks))
	}
	key := tasks[0].Key
	if tasks[0].State == state.Fresh {
		l.apply(&kilnv1.Entry{Level: 1, UnixMs: 1000, Commands: []*kilnv1.Command{looked(key)}})
	}
	l.apply(&kilnv1.Entry{Level: 1, UnixMs: 1001, Commands: []*kilnv1.Command{
		lease(key, "one"), lease(key, "two"), // the second is refused
		complete(key, "two", 2, digestB), // and so is what it says
		{Command: &kilnv1.Command_Release{Release: &kilnv1.LeaseRef{Task: key, Number: 1}}},
		lease(key, "two"),
		complete(key, "one", 1, digestB), // too late
		complete(key, "two", 2, digestA),
	}})
	if faults := l.finish(); len(faults) != 0 {
		t.Errorf("faults: %q", faults)
	}
	if l.Granted != 2 || l.Completed != 1 || l.Stale != 2 || l.Released != 1 {
		t.Errorf("granted %d, completed %d, stale %d, released %d; want 2, 1, 2, 1", l.Granted, l.Completed, l.Stale, l.Released)
	}
	if !sameState(l.machine, l.machine) || sameState(l.machine, state.New()) {
		t.Error("states are not told apart")
	}
}

// TestTheLedgerSeesWhatMustNotBe books results that no sound state machine would give.
func TestTheLedgerSeesWhatMustNotBe(t *testing.T) {
	const key = "task"
	granted := func(l *ledger, builder string, number uint64) {
		l.account(lease(key, builder), state.Result{Lease: number}, 0)
	}
	for _, c := range []struct {
		name string
		book func(l *ledger)
		want string // in the only fault
	}{
		{"a task is leased twice at a time", func(l *ledger) {
			granted(l, "one", 1)
			granted(l, "two", 2)
			delete(l.open, key)
		}, "while one holds it as 1"},
		{"a number is given twice", func(l *ledger) {
			granted(l, "one", 1)
			l.account(complete(key, "one", 1, digestA), state.Result{}, 0)
			granted(l, "two", 1)
			delete(l.open, key)
		}, "comes after lease 1"},
		{"the result of an old lease is accepted", func(l *ledger) {
			granted(l, "one", 1)
			l.account(&kilnv1.Command{Command: &kilnv1.Command_Expire{Expire: &kilnv1.ExpireCommand{Lease: &kilnv1.LeaseRef{Task: key, Number: 1}}}}, state.Result{}, 0)
			granted(l, "two", 2)
			l.account(complete(key, "one", 1, digestA), state.Result{}, 0)
		}, "was completed by one with lease 0.1"},
		{"a result is accepted from another builder", func(l *ledger) {
			granted(l, "one", 1)
			l.account(complete(key, "two", 1, digestA), state.Result{}, 0)
		}, "was completed by two"},
		{"a result is accepted twice", func(l *ledger) {
			granted(l, "one", 1)
			l.account(complete(key, "one", 1, digestA), state.Result{}, 0)
			l.account(complete(key, "one", 1, digestA), state.Result{}, 0)
		}, "was completed by one"},
		{"a step gives something else the second time", func(l *ledger) {
			granted(l, "one", 1)
			l.account(complete(key, "one", 1, digestA), state.Result{}, 0)
			granted(l, "two", 2)
			l.account(complete(key, "two", 2, digestB), state.Result{}, 0)
		}, "and before that"},
		{"a good result is refused", func(l *ledger) {
			granted(l, "one", 1)
			l.account(complete(key, "one", 1, digestA), state.Result{Refused: state.RefusedStale}, 0)
			delete(l.open, key)
		}, "was refused"},
		{"a lease that is not there expires", func(l *ledger) {
			l.account(&kilnv1.Command{Command: &kilnv1.Command_Release{Release: &kilnv1.LeaseRef{Task: key, Number: 1}}}, state.Result{}, 0)
		}, "was given back"},
		{"a lease is open that the state does not have", func(l *ledger) {
			granted(l, "one", 1)
		}, "0 tasks are leased, and the log says 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(state.New())
			c.book(l)
			if faults := l.finish(); len(faults) != 1 || !strings.Contains(faults[0], c.want) {
				t.Errorf("faults %q, want one with %q", faults, c.want)
			}
		})
	}
}

// leasedState is a state in which the only task is leased, with a number that tells how often it was before.
func leasedState(t *testing.T, epoch, number uint64, builder string, now int64) *state.Machine {
	t.Helper()
	m := state.New()
	key := ""
	apply := func(commands ...*kilnv1.Command) {
		for i, r := range m.Apply(&kilnv1.Entry{Level: 1, UnixMs: now, Commands: commands}).Results {
			if r.Refused != "" {
				t.Fatalf("%v: %s", commands[i], r.Refused)
			}
		}
		key = m.Tasks()[0].Key
	}
	apply(submitted("b1"), &kilnv1.Command{Command: &kilnv1.Command_Epoch{Epoch: &kilnv1.EpochCommand{Epoch: epoch}}})
	if m.Tasks()[0].State == state.Fresh {
		apply(looked(key))
	}
	for n := uint64(1); n < number; n++ {
		apply(lease(key, "before"), &kilnv1.Command{Command: &kilnv1.Command_Release{Release: &kilnv1.LeaseRef{Epoch: epoch, Task: key, Number: n}}})
	}
	apply(lease(key, builder))
	return m
}

func looked(key string) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Looked{Looked: &kilnv1.LookedCommand{Task: key}}}
}

func TestBackupsThatContradictEachOtherAreSeen(t *testing.T) {
	for _, c := range []struct {
		name  string
		first *state.Machine
		then  *state.Machine
		want  string // in the only fault; none when empty
	}{
		{"nothing changed", leasedState(t, 1, 7, "one", 5), leasedState(t, 1, 7, "one", 6), ""},
		{"the task is leased anew", leasedState(t, 1, 7, "one", 5), leasedState(t, 1, 8, "two", 6), ""},
		{"the epoch rose", leasedState(t, 1, 7, "one", 5), leasedState(t, 2, 1, "two", 6), ""},
		{"one number has two holders", leasedState(t, 1, 7, "one", 5), leasedState(t, 1, 7, "two", 6), "lease 7 is of"},
		{"an old lease is back", leasedState(t, 1, 7, "one", 5), leasedState(t, 1, 6, "two", 6), "leased as 6 after it was leased as 7"},
		{"time went back", leasedState(t, 1, 7, "one", 5), leasedState(t, 1, 7, "one", 4), "comes after epoch 1 at 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSightings()
			s.look(c.first)
			s.look(c.then)
			if got := strings.Join(s.faults, "; "); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("faults %q, want %q", got, c.want)
			}
		})
	}
}

func TestLogsOfCoordinatorsAreCompared(t *testing.T) {
	entries := func(terms ...uint64) []raft.Log {
		var logs []raft.Log
		for i, term := range terms {
			data, err := proto.Marshal(&kilnv1.Entry{Level: 1, UnixMs: int64(term)})
			if err != nil {
				t.Fatal(err)
			}
			logs = append(logs, raft.Log{Index: uint64(i + 1), Term: term, Data: data})
		}
		return logs
	}
	for _, c := range []struct {
		name   string
		a, b   []raft.Log
		faults int
	}{
		{"equal logs", entries(1, 1, 2), entries(1, 1, 2), 0},
		{"one that lags", entries(1, 1, 2), entries(1, 1), 0},
		{"a tail that was not committed", entries(1, 1, 2), entries(1, 1, 2, 3), 0},
		{"a committed entry that differs", entries(1, 1, 2), entries(1, 3, 2), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := []*replica{{name: "a", snapshot: state.New(), logs: c.a}, {name: "b", snapshot: state.New(), logs: c.b}, {name: "c", snapshot: state.New(), logs: c.a}}
			commit := committed(all)
			if faults, _ := compare(all, commit); len(faults) != c.faults {
				t.Errorf("faults %q, want %d", faults, c.faults)
			}
			l, err := replay(all, commit)
			if err != nil || l.Entries != int(commit) {
				t.Errorf("replayed %d entries, %v; want %d", l.Entries, err, commit)
			}
		})
	}
}

func TestHistoriesThatNoOrderExplainsAreSeen(t *testing.T) {
	op := func(client int, from, to int64, v verb, told answer) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Call: from, Return: to, Input: call{v, "b"}, Output: told}
	}
	for _, c := range []struct {
		name string
		ops  []porcupine.Operation
		want porcupine.CheckResult
	}{
		{"a build that ends", []porcupine.Operation{
			op(0, 1, 2, submit, answer{}), op(0, 3, 4, status, answer{Saw: running}), op(0, 5, 6, status, answer{Saw: done}), op(0, 7, 8, cancel, answer{}), op(0, 9, 10, status, answer{Saw: done}),
		}, porcupine.Ok},
		{"one that is not there yet for another client", []porcupine.Operation{
			op(0, 1, 5, submit, answer{}), op(1, 2, 3, status, answer{Saw: absent}), op(1, 6, 7, status, answer{Saw: running}),
		}, porcupine.Ok},
		{"a cancel without an answer that happens late", []porcupine.Operation{
			op(0, 1, 2, submit, answer{}), op(1, 3, never, cancel, answer{Unknown: true}), op(0, 5, 6, status, answer{Saw: running}), op(0, 7, 8, status, answer{Saw: canceled}),
		}, porcupine.Ok},
		{"a submit without an answer that never happens", []porcupine.Operation{
			op(0, 1, never, submit, answer{Unknown: true}), op(1, 5, 6, status, answer{Saw: absent}),
		}, porcupine.Ok},
		{"a build that was taken and is lost", []porcupine.Operation{
			op(0, 1, 2, submit, answer{}), op(1, 3, 4, status, answer{Saw: absent}),
		}, porcupine.Illegal},
		{"a canceled build that runs", []porcupine.Operation{
			op(0, 1, 2, submit, answer{}), op(0, 3, 4, cancel, answer{}), op(1, 5, 6, status, answer{Saw: running}),
		}, porcupine.Illegal},
		{"a build that ended and runs again", []porcupine.Operation{
			op(0, 1, 2, submit, answer{}), op(0, 3, 4, status, answer{Saw: done}), op(1, 5, 6, status, answer{Saw: running}),
		}, porcupine.Illegal},
		{"an end that changes", []porcupine.Operation{
			op(0, 1, 2, submit, answer{}), op(0, 3, 4, status, answer{Saw: done}), op(1, 5, 6, status, answer{Saw: canceled}),
		}, porcupine.Illegal},
		{"a build that nobody submitted", []porcupine.Operation{op(0, 1, 2, status, answer{Saw: running})}, porcupine.Illegal},
		{"a cancel that does not find what is there", []porcupine.Operation{
			op(0, 1, 2, submit, answer{}), op(0, 3, 4, cancel, answer{Saw: absent}),
		}, porcupine.Illegal},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &history{ops: c.ops}
			if got, _ := h.check(time.Minute); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if (len(h.worst()) > 0) != (c.want == porcupine.Illegal) {
				t.Error("the history that is broken is not shown")
			}
		})
	}
}

func TestADamagedStoreIsSeen(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string, store *disk.Store, blob cache.Digest, key cache.Digest)
		want   string // in the only fault; none when empty
	}{
		{"nothing is wrong", func(*testing.T, string, *disk.Store, cache.Digest, cache.Digest) {}, ""},
		{"a bit of a blob flipped", func(t *testing.T, dir string, _ *disk.Store, blob, _ cache.Digest) {
			path := filepath.Join(dir, filepath.FromSlash(cache.BlobKey(blob).String()))
			data, err := os.ReadFile(path)
			if err == nil {
				data[0] ^= 1
				err = os.Remove(path)
			}
			if err == nil {
				err = os.WriteFile(path, data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "blob sha256:"},
		{"a result is another", func(t *testing.T, _ string, store *disk.Store, blob, key cache.Digest) {
			if err := store.Delete(ctx, cache.ResultKey(key)); err != nil {
				t.Fatal(err)
			}
			putResult(t, store, key, blob, 8)
		}, "and without a farm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			store, reference := openDir(t, dir), openDir(t, t.TempDir())
			blob := putBlob(t, store, "some bytes")
			key := digestOf(t, "a key")
			putResult(t, store, key, blob, 7)
			putResult(t, reference, key, blob, 7)
			c.damage(t, dir, store, blob, key)
			in, err := inspect(ctx, openDir(t, dir), reference, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(in.faults, "; "); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("faults %q, want %q", got, c.want)
			}
			if in.Results != 1 || in.Compared != 1 {
				t.Errorf("%d results, %d compared; want 1 and 1", in.Results, in.Compared)
			}
		})
	}
	t.Run("a result is not what was accepted", func(t *testing.T) {
		store := openDir(t, t.TempDir())
		key := digestOf(t, "a key")
		putResult(t, store, key, putBlob(t, store, "x"), 7)
		in, err := inspect(ctx, store, openDir(t, t.TempDir()), map[string]string{key.String(): "[else]"}, nil)
		if err != nil || len(in.faults) != 1 || !strings.Contains(in.faults[0], "was accepted") {
			t.Errorf("faults %q, %v", in.faults, err)
		}
	})
}

func putResult(t *testing.T, s cache.Store, key, blob cache.Digest, size int64) {
	t.Helper()
	r := &kilnv1.Result{Key: key.String(), Kind: "segment", Outputs: []*kilnv1.Output{{Name: "segment", Digest: blob.String(), Size: size}}}
	if err := record.PutResult(context.Background(), s, key, r); err != nil {
		t.Fatal(err)
	}
}

func putBlob(t *testing.T, s cache.Store, text string) cache.Digest {
	t.Helper()
	d := digestOf(t, text)
	if err := s.Put(context.Background(), cache.BlobKey(d), strings.NewReader(text), int64(len(text)), cache.IfAbsent); err != nil {
		t.Fatal(err)
	}
	return d
}

func digestOf(t *testing.T, text string) cache.Digest {
	t.Helper()
	d, err := cache.ParseDigest(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func openDir(t *testing.T, dir string) *disk.Store {
	t.Helper()
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
