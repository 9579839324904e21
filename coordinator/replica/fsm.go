package replica

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/coordinator/state"
)

// FSM gives raft a state.Machine to apply its log to.
type FSM struct {
	mu      sync.RWMutex // guards machine
	machine *state.Machine
	newer   error // why nothing is applied any more

	TooOld         func(error)   // told once when this program is too old for the log; may be nil
	MembersChanged chan struct{} // holds a token when members may have changed
}

func NewFSM() *FSM { return &FSM{machine: state.New(), MembersChanged: make(chan struct{}, 1)} }

// Apply implements raft.FSM. Its answer is a state.Outcome.
func (f *FSM) Apply(log *raft.Log) any {
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
func (f *FSM) stops(level uint32) bool {
	if f.newer == nil && level > state.Level() {
		f.stop(fmt.Errorf("%w: the farm is at feature level %d, this program applies %d", state.ErrNewer, level, state.Level()))
	}
	return f.newer != nil
}

func (f *FSM) stop(why error) {
	f.newer = why
	if f.TooOld != nil {
		f.TooOld(why)
	}
}

func (f *FSM) membersChanged() {
	select {
	case f.MembersChanged <- struct{}{}:
	default:
	}
}

// View calls look with the machine as it is now. What look takes out of it must not be changed and, but for
// tasks and builds it clones, not be kept.
func (f *FSM) View(look func(m *state.Machine)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	look(f.machine)
}

// Snapshot implements raft.FSM.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.newer != nil {
		return nil, f.newer
	}
	return fsmSnapshot{f.machine.Snapshot()}, nil
}

// Freeze is the state as it is now: what is written of it does not change any more.
func (f *FSM) Freeze() *state.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.machine.Snapshot()
}

// Restore implements raft.FSM.
func (f *FSM) Restore(r io.ReadCloser) error {
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
