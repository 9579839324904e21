package duty

import (
	"context"
	"log/slog"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Kind is a duty as it is known before anybody leads.
type Kind struct {
	Name     string              // one word
	Does     string              // one line, for the table of duties
	Hears    []state.ChangeKind  // what Changed is called with
	Reads    []state.Part        // of the state
	Proposes []state.CommandKind // and nothing else
	New      func(Tools) Duty
}

// Duty is one for the time of one leadership.
type Duty interface {
	// Begin takes up what the state says is under way, before anything changes. It must not wait: the state is locked.
	Begin(m *state.Machine)
	// Changed is told of what an entry changed, in order. It runs on the goroutine that commits, so the state is as the
	// entry left it, and it must not wait. The slice is not its to keep.
	Changed(m *state.Machine, changes []state.Change)
	// Run works until ctx ends, which is when leadership does. A duty that only listens returns at once.
	Run(ctx context.Context)
	// End is called when Run and everything that was spawned has ended.
	End()
}

// Listener is a Duty that answers on the bus. It listens once all duties have begun, and its services are the first
// that end with leadership: "no responders" tells others to look for the next leader.
type Listener interface {
	Listen() ([]*bus.Service, error)
}

// Founder is a Duty that commits something before any duty begins.
type Founder interface {
	Found(ctx context.Context) error
}

// Passive is a Duty that does nothing, for others to embed.
type Passive struct{}

func (Passive) Begin(*state.Machine)                   {}
func (Passive) Changed(*state.Machine, []state.Change) {}
func (Passive) Run(context.Context)                    {}
func (Passive) End()                                   {}

// Tools are what every duty is made with.
type Tools struct {
	Leader
	Store cache.Store // for records
	Blobs cache.Blobs // for blobs
	Now   func() time.Time
	Log   *slog.Logger
}

// Leader is the leadership that a duty belongs to.
type Leader interface {
	// View calls look with the state as it is now. What look takes out of it must not be changed and, but for what it
	// clones, not be kept.
	View(look func(m *state.Machine))
	// Propose commits commands together and returns the result of each.
	Propose(ctx context.Context, commands ...*kilnv1.Command) ([]state.Result, error)
	// Send is Propose for those who do not wait. Done is called on the goroutine that commits, and must not wait.
	Send(commands []*kilnv1.Command, done func([]state.Result, error))
	// Steady is the farm's steady time in ms, and Level its feature level.
	Steady() int64
	Level() uint32
	// Term is raft's.
	Term() uint64
	// Verify returns nil when this coordinator led at some time after the call.
	Verify(ctx context.Context) error
	// Context ends with leadership.
	Context() context.Context
	// Spawn runs f in a goroutine that the end of leadership waits for.
	Spawn(f func())
}

// Tell proposes what nobody waits for. When it is not committed, the next leader finds the same to do.
func (t Tools) Tell(commands ...*kilnv1.Command) {
	if len(commands) == 0 {
		return
	}
	t.Send(commands, func(_ []state.Result, err error) {
		if err != nil && t.Context().Err() == nil {
			t.Log.Warn("commands were not committed", "commands", len(commands), "error", err)
		}
	})
}
