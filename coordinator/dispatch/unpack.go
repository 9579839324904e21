package dispatch

import (
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/image/flat"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// lookedAt is how many of the builds that wait for a task have a say in its limits.
const lookedAt = 100

// unpackLimits are what an image may unpack to that is unpacked for the teams of several builds: what one of them may
// have is no reason to fail the others.
func unpackLimits(m *state.Machine, t *state.Task, kind string) *kilnv1.UnpackLimits {
	if kind != step.Flatten {
		return nil
	}
	var widest *kilnv1.UnpackLimits
	for i, w := range t.Waiters[:min(len(t.Waiters), lookedAt)] {
		own := m.Team(m.Build(w.Build).Spec.GetTeam()).GetUnpack()
		if i == 0 {
			widest = own
		}
		widest = flat.Wider(widest, own)
	}
	return widest
}
