package chaos

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// held is a lease that has been granted and has not ended.
type held struct {
	epoch, number uint64
	builder       string
}

// ledger follows leases through the committed log with an account of its own, and says where the state machine's
// decisions do not add up.
type ledger struct {
	machine *state.Machine
	open    map[string]held   // by task
	last    uint64            // highest number granted in this epoch
	made    map[string]string // what each key's accepted results were, as text
	faults  []string

	Entries, Granted, Completed, Stale, Expired, Released int
}

func newLedger(from *state.Machine) *ledger {
	l := &ledger{machine: from, open: map[string]held{}, made: map[string]string{}}
	for _, t := range from.Tasks() {
		if t.State == state.Leased {
			l.open[t.Key] = held{from.Epoch(), t.Lease, t.Builder}
			l.last = max(l.last, t.Lease)
		}
	}
	return l
}

func (l *ledger) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf("entry %d: ", l.Entries)+fmt.Sprintf(format, args...))
}

// apply applies an entry one command at a time, which is the same as all at once.
func (l *ledger) apply(entry *kilnv1.Entry) {
	l.Entries++
	for _, c := range entry.GetCommands() {
		epoch := l.machine.Epoch()
		out := l.machine.Apply(&kilnv1.Entry{Level: entry.GetLevel(), UnixMs: entry.GetUnixMs(), Commands: []*kilnv1.Command{c}})
		l.account(c, out.Results[0], epoch)
		for _, change := range out.Changes {
			if change.Kind == state.TaskGone {
				delete(l.open, change.Task)
			}
		}
		if l.machine.Epoch() != epoch { // all leases of before are void
			clear(l.open)
			l.last = 0
		}
	}
}

// account checks one command's result against the account, and books it.
func (l *ledger) account(c *kilnv1.Command, r state.Result, epoch uint64) {
	switch c := c.GetCommand().(type) {
	case *kilnv1.Command_Lease:
		if r.Refused == "" {
			l.granted(c.Lease, r.Lease, epoch)
		}
	case *kilnv1.Command_Complete:
		l.completed(c.Complete, r)
	case *kilnv1.Command_Expire:
		if r.Refused == "" {
			l.Expired++
			l.ended("expired", c.Expire.GetLease())
		}
	case *kilnv1.Command_Release:
		if r.Refused == "" {
			l.Released++
			l.ended("was given back", c.Release)
		}
	}
}

func (l *ledger) granted(c *kilnv1.LeaseCommand, number, epoch uint64) {
	l.Granted++
	if other, ok := l.open[c.GetTask()]; ok {
		l.fault("task %s is leased to %s as %d while %s holds it as %d", c.GetTask(), c.GetBuilder(), number, other.builder, other.number)
	}
	if number <= l.last {
		l.fault("lease %d of task %s comes after lease %d", number, c.GetTask(), l.last)
	}
	l.last = max(l.last, number)
	l.open[c.GetTask()] = held{epoch, number, c.GetBuilder()}
}

// completed books a completion, which counts only from the one that holds the lease.
func (l *ledger) completed(c *kilnv1.CompleteRequest, r state.Result) {
	holder, ok := l.open[c.GetTask()]
	owns := ok && holder == held{c.GetEpoch(), c.GetNumber(), c.GetBuilder()}
	if r.Refused != "" {
		l.Stale++
		if owns && r.Refused == state.RefusedStale {
			l.fault("the completion of task %s by %s, which holds lease %d, was refused: %s", c.GetTask(), c.GetBuilder(), c.GetNumber(), r.Refused)
		}
		return
	}
	if !owns {
		l.fault("task %s was completed by %s with lease %d.%d, and it is held as %+v", c.GetTask(), c.GetBuilder(), c.GetEpoch(), c.GetNumber(), holder)
	}
	delete(l.open, c.GetTask())
	if c.GetCompletion() != kilnv1.Completion_COMPLETION_DONE {
		return
	}
	l.Completed++
	made := outputsText(c.GetOutputs())
	if before, ok := l.made[c.GetTask()]; ok && before != made {
		l.fault("task %s gave %s, and before that %s", c.GetTask(), made, before)
	}
	l.made[c.GetTask()] = made
}

func (l *ledger) ended(how string, ref *kilnv1.LeaseRef) {
	if holder, ok := l.open[ref.GetTask()]; !ok || holder.epoch != ref.GetEpoch() || holder.number != ref.GetNumber() {
		l.fault("lease %d.%d of task %s %s, and the task is held as %+v", ref.GetEpoch(), ref.GetNumber(), ref.GetTask(), how, holder)
	}
	delete(l.open, ref.GetTask())
}

// outputsText is what a step made, for comparison.
func outputsText(outputs []*kilnv1.Output) string {
	var lines []string
	for _, o := range outputs {
		lines = append(lines, fmt.Sprintf("%s=%s/%d", o.GetName(), o.GetDigest(), o.GetSize()))
	}
	slices.SortFunc(lines, cmp.Compare[string])
	return fmt.Sprint(lines)
}

// finish compares the account with the state at the end.
func (l *ledger) finish() []string {
	open := 0
	for _, t := range l.machine.Tasks() {
		if t.State != state.Leased {
			continue
		}
		open++
		if got, want := l.open[t.Key], (held{l.machine.Epoch(), t.Lease, t.Builder}); got != want {
			l.fault("at the end task %s is leased as %+v, and the log says %+v", t.Key, want, got)
		}
	}
	if open != len(l.open) {
		l.fault("at the end %d tasks are leased, and the log says %d", open, len(l.open))
	}
	return l.faults
}

// sightings checks what a farm's backups show while it runs: the leader's view of the state must never contradict what
// it showed before.
type sightings struct {
	epoch   uint64
	now     int64
	holders map[uint64]string // of a lease's number: task, builder, session
	numbers map[string]uint64 // the last number seen of each task
	seen    int
	faults  []string
}

func newSightings() *sightings {
	return &sightings{holders: map[uint64]string{}, numbers: map[string]uint64{}}
}

func (s *sightings) look(m *state.Machine) {
	s.seen++
	if m.Epoch() < s.epoch || m.Now() < s.now {
		s.faults = append(s.faults, fmt.Sprintf("backup %d: epoch %d at %d comes after epoch %d at %d", s.seen, m.Epoch(), m.Now(), s.epoch, s.now))
	}
	if m.Epoch() != s.epoch {
		clear(s.holders)
		clear(s.numbers)
	}
	s.epoch, s.now = m.Epoch(), m.Now()
	for _, t := range m.Tasks() {
		if t.State != state.Leased {
			continue
		}
		holder := fmt.Sprintf("task %s at %s session %s", t.Key, t.Builder, t.Session)
		if before, ok := s.holders[t.Lease]; ok && before != holder {
			s.faults = append(s.faults, fmt.Sprintf("backup %d: lease %d is of %s, and was of %s", s.seen, t.Lease, holder, before))
		}
		if t.Lease < s.numbers[t.Key] {
			s.faults = append(s.faults, fmt.Sprintf("backup %d: task %s is leased as %d after it was leased as %d", s.seen, t.Key, t.Lease, s.numbers[t.Key]))
		}
		s.holders[t.Lease], s.numbers[t.Key] = holder, t.Lease
	}
}

// sameState says whether two machines are byte-equal.
func sameState(a, b *state.Machine) bool {
	var left, right bytes.Buffer
	return a.Snapshot().Write(&left) == nil && b.Snapshot().Write(&right) == nil && bytes.Equal(left.Bytes(), right.Bytes())
}

// decodeEntry reads an entry of raft's log.
func decodeEntry(data []byte) (*kilnv1.Entry, error) {
	entry := &kilnv1.Entry{}
	return entry, proto.Unmarshal(data, entry)
}
