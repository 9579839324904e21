package forget

import (
	"context"
	"slices"
	"time"

	"github.com/kiln-farm/kiln/coordinator/duty"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	forgetEvery  = time.Minute
	forgetBatch  = 1000                // bindings in one entry
	forgetMost   = 50 * forgetBatch    // at a time
	rememberOver = 30 * 24 * time.Hour // of steady time: for which a client gets the same address again
)

// Kind is the duty.
func Kind() duty.Kind {
	return duty.Kind{
		Name: "forget", Does: "forgets bindings of IPv6 that are long over",
		Reads:    []state.Part{state.Addresses},
		Proposes: []state.CommandKind{"bind"},
		New:      func(t duty.Tools) duty.Duty { return &Duty{Tools: t} },
	}
}

// Duty has bindings of IPv6 forgotten that are long over. An address of a /64 is hardly ever another client's next, which
// would end the memory of the one before.
type Duty struct {
	duty.Tools
	duty.Passive
}

// Run implements duty.Duty.
func (l *Duty) Run(ctx context.Context) {
	ticker := time.NewTicker(forgetEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		l.ForgetOver(ctx)
	}
}

func (l *Duty) ForgetOver(ctx context.Context) {
	var over []*kilnv1.Binding
	l.View(func(m *state.Machine) { over = m.Over6(m.Steady()-rememberOver.Milliseconds(), forgetMost) })
	for batch := range slices.Chunk(over, forgetBatch) {
		commands := make([]*kilnv1.Command, len(batch))
		for i, b := range batch {
			commands[i] = forgetCommand(b)
		}
		if state.LevelOf(commands[0]) > l.Level() {
			return // there is a coordinator of an older release, which would not forget them
		}
		if _, err := l.Propose(ctx, commands...); err != nil {
			return // who leads then forgets them
		}
	}
}

// forgetCommand forgets a binding unless it has changed since.
func forgetCommand(b *kilnv1.Binding) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{
		Operation: kilnv1.BindCommand_OPERATION_FORGET, Subnet: b.GetSubnet(), Address: b.GetAddress(), Client: b.GetClient(), UntilMs: b.GetUntilMs(),
	}}}
}
