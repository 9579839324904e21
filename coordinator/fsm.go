package coordinator

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/coordinator/state"
)

// fsm gives raft a state.Machine to apply its log to.
type fsm struct {
	mu      sync.RWMutex // guards machine
	machine *state.Machine
	newer   error // why nothing is applied any more

	tooOld  func(error)   // told once when this program is too old for the log; may be nil
	members chan struct{} // holds a token when members may have changed
}

func newFSM() *fsm { return &fsm{machine: state.New(), members: make(chan struct{}, 1)} }

// Apply implements raft.FSM. Its answer is a state.Outcome.
func (f *fsm) Apply(log *raft.Log) any {
	entry, err := state.Decode(log.Data)
	if err != nil {
		return state.Outcome{} // the same on every replica; the proposer sees that results are missing
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stops(entry.GetLevel()) {
		return state.Outcome{}
	}
	out := f.machine.Apply(entry)
	f.stops(f.machine.FeatureLevel())
	if slices.ContainsFunc(out.Changes, func(c state.Change) bool { return c.Kind == state.MembersChanged }) {
		f.membersChanged()
	}
	return out
}

// stops says whether the log has come to a feature level that this program cannot apply, as it does after a downgrade. From
// there on its state would not be that of the others: it applies nothing more and keeps no snapshot, so that the right
// release finds the log as it was.
func (f *fsm) stops(level uint32) bool {
	if f.newer == nil && level > state.Level() {
		f.stop(fmt.Errorf("%w: the farm is at feature level %d, this program applies %d", state.ErrNewer, level, state.Level()))
	}
	return f.newer != nil
}

func (f *fsm) stop(why error) {
	f.newer = why
	if f.tooOld != nil {
		f.tooOld(why)
	}
}

func (f *fsm) membersChanged() {
	select {
	case f.members <- struct{}{}:
	default:
	}
}

// view calls look with the machine as it is now. What look takes out of it must not be changed and, but for
// tasks and builds it clones, not be kept.
func (f *fsm) view(look func(m *state.Machine)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	look(f.machine)
}

// Snapshot implements raft.FSM.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.newer != nil {
		return nil, f.newer
	}
	return fsmSnapshot{f.machine.Snapshot()}, nil
}

func (f *fsm) snapshot() *state.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.machine.Snapshot()
}

// Restore implements raft.FSM.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	machine, err := state.Restore(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if errors.Is(err, state.ErrNewer) {
			f.stop(err)
		}
		return err
	}
	f.machine = machine
	f.membersChanged()
	return nil
}

type fsmSnapshot struct{ *state.Snapshot }

// Persist implements raft.FSMSnapshot.
func (s fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.Write(sink); err != nil {
		_ = sink.Cancel() // the first error is the one to tell
		return err
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (fsmSnapshot) Release() {}
