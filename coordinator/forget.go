package coordinator

import (
	"time"

	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	forgetEvery  = time.Minute
	forgetAtOnce = 1000                // bindings in one entry
	forgetRounds = 100                 // entries at a time
	rememberOver = 30 * 24 * time.Hour // of steady time: for which a client gets the same address again
)

// forgetBindings has bindings of IPv6 forgotten that are long over, while the leader leads. An address of a /64 is hardly ever
// another client's next, which would end the memory of the one before.
func (l *leader) forgetBindings() {
	ticker := time.NewTicker(forgetEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.ctx.Done():
			return
		}
		for range forgetRounds {
			var over []*kilnv1.Binding
			l.fsm.view(func(m *state.Machine) { over = m.Over6(m.Steady()-rememberOver.Milliseconds(), forgetAtOnce) })
			if len(over) == 0 {
				break
			}
			commands := make([]*kilnv1.Command, len(over))
			for i, b := range over {
				commands[i] = forgetCommand(b)
			}
			if state.LevelOf(commands[0]) > l.proposer.level() {
				break
			}
			if _, err := l.proposer.propose(l.ctx, commands...); err != nil {
				break
			}
		}
	}
}

// forgetCommand forgets a binding unless it has changed since.
func forgetCommand(b *kilnv1.Binding) *kilnv1.Command {
	return &kilnv1.Command{Command: &kilnv1.Command_Bind{Bind: &kilnv1.BindCommand{
		Operation: kilnv1.BindCommand_OPERATION_FORGET, Subnet: b.GetSubnet(), Address: b.GetAddress(), Client: b.GetClient(), UntilMs: b.GetUntilMs(),
	}}}
}
