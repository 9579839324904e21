// Package state decides what is true in a farm: which builds there are, what each still needs, and who holds a
// lease on what. Every coordinator applies the same log of entries to a Machine, and so they agree.
//
// A build is a list of nodes: resolve, plan, then its graph. A node waits until the digests of all its inputs
// are known; then its key is, and it attaches to the task of that key, which may serve nodes of many builds:
//
//	node  waiting → attached → done
//	task  new → ready → leased → done
//
// A new task is looked up by the leader before it becomes ready, since its result may be in the cache. A leased
// task whose builder is lost becomes ready again, after a while and a bounded number of times; one that lacks
// a blob is blocked until the blob's producer has run again. A task that fails ends the builds that wait for it,
// and one that nobody waits for any more leaves the state.
//
// Leases are numbered by a counter in the state and an epoch, so that what a builder says about a lease it no
// longer holds is told apart and refused.
//
// Apply never fails: a command that makes no sense has a result that says so and changes nothing. Time is part
// of the state and moves only by entries. Taking a snapshot copies a few maps of pointers; what is changed
// afterwards is copied first.
//
// The package has no clock, no randomness, no input or output, no goroutines, and lets no map's order show.
package state
