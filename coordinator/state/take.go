package state

import (
	"github.com/kiln-farm/kiln/fleet/taken"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// take notes that a machine reads a document with secrets.
func (m *Machine) take(c *kilnv1.TakeCommand) Result {
	for _, s := range []string{c.GetMachine(), c.GetBoot(), c.GetDocument(), c.GetRequest()} {
		if s == "" || len(s) > maxID {
			return Result{Refused: RefusedInvalid}
		}
	}
	before := m.room.taken[c.GetMachine()]
	next, fresh := taken.Take(before, c, m.now)
	if !fresh {
		return Result{Refused: RefusedTaken}
	}
	if before == nil && len(m.room.taken) >= maxMachines {
		m.forgetTaken()
		if len(m.room.taken) >= maxMachines {
			return Result{Refused: RefusedInvalid}
		}
	}
	m.room.taken[c.GetMachine()] = next
	return Result{}
}

// forgetTaken forgets the machines that took nothing for a long time.
func (m *Machine) forgetTaken() {
	for name, t := range m.room.taken {
		if last := t.GetTaken()[len(t.GetTaken())-1]; last.GetAt()+taken.Life < m.now {
			delete(m.room.taken, name)
		}
	}
}
