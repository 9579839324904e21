// Package builder runs steps: it takes leases from the leader of a farm, runs each step with the Runner of its kind, and
// reports how it ended.
//
// A builder asks for as many leases as it has free slots and waits for the answer, so that an idle builder costs nothing
// and work starts the moment it is there. While steps run it tells the leader so; a lease that the leader has given up is
// stopped. When the process is to end it takes no new work, finishes what it has within a grace, and gives the rest back.
//
// A builder writes blobs and nothing else: results are the leader's to write. It never decides whether a step should run.
package builder
