// Package taken counts which documents with secrets a machine has read in which boot, so that each is read once: a farm's state and a
// host that is its own farm go by this rule. It has no clock and keeps nothing.
package taken

import kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"

const (
	// Life is how long it is remembered what a machine took, in ms: longer than any boot token holds, also when a leader's
	// clock is wrong by hours.
	Life = 24 * 60 * 60 * 1000
	// most is how many documents are remembered of a machine. The oldest goes for a newer one: only the machine itself makes
	// its own be forgotten.
	most = 64
)

// Take is what a machine has taken after a request at now, in ms since 1970; fresh is false when it had the document before in
// that boot. The same request may come twice, and is fresh twice. Before is not changed; nil: it has taken nothing.
func Take(before *kilnv1.SnapshotTaken, c *kilnv1.TakeCommand, now int64) (after *kilnv1.SnapshotTaken, fresh bool) {
	after = &kilnv1.SnapshotTaken{Machine: c.GetMachine()}
	for _, t := range before.GetTaken() {
		if t.GetBoot() == c.GetBoot() && t.GetDocument() == c.GetDocument() {
			return before, t.GetRequest() == c.GetRequest()
		}
		if t.GetAt()+Life >= now {
			after.Taken = append(after.Taken, t)
		}
	}
	if over := len(after.GetTaken()) - most + 1; over > 0 {
		after.Taken = after.GetTaken()[over:]
	}
	after.Taken = append(after.GetTaken(), &kilnv1.Taken{Boot: c.GetBoot(), Document: c.GetDocument(), Request: c.GetRequest(), At: now})
	return after, true
}
