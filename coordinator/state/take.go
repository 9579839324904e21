package state

import (
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	// takenLife is how long it is remembered what a machine took: longer than any boot token holds, also when a leader's clock
	// is wrong by hours.
	takenLife = 24 * 60 * 60 * 1000 // ms
	// maxTaken is how many documents are remembered of a machine. The oldest goes for a newer one: only the machine itself makes
	// its own be forgotten.
	maxTaken = 64
)

// take notes that a machine reads a document with secrets.
func (m *Machine) take(c *kilnv1.TakeCommand) Result {
	for _, s := range []string{c.GetMachine(), c.GetBoot(), c.GetDocument(), c.GetRequest()} {
		if s == "" || len(s) > maxID {
			return Result{Refused: RefusedInvalid}
		}
	}
	before := m.room.taken[c.GetMachine()]
	next, fresh := Take(before, c, m.now)
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
		if last := t.GetTaken()[len(t.GetTaken())-1]; last.GetAt()+takenLife < m.now {
			delete(m.room.taken, name)
		}
	}
}

// Take is what a machine has taken after a request at now, in ms since 1970; fresh is false when it had the document before in
// that boot. The same request may come twice, and is fresh twice. Before is not changed; nil: it has taken nothing.
func Take(before *kilnv1.SnapshotTaken, c *kilnv1.TakeCommand, now int64) (after *kilnv1.SnapshotTaken, fresh bool) {
	after = &kilnv1.SnapshotTaken{Machine: c.GetMachine()}
	for _, t := range before.GetTaken() {
		if t.GetBoot() == c.GetBoot() && t.GetDocument() == c.GetDocument() {
			return before, t.GetRequest() == c.GetRequest()
		}
		if t.GetAt()+takenLife >= now {
			after.Taken = append(after.Taken, t)
		}
	}
	if over := len(after.GetTaken()) - maxTaken + 1; over > 0 {
		after.Taken = after.GetTaken()[over:]
	}
	after.Taken = append(after.GetTaken(), &kilnv1.Taken{Boot: c.GetBoot(), Document: c.GetDocument(), Request: c.GetRequest(), At: now})
	return after, true
}
