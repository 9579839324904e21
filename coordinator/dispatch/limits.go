package dispatch

import "time"

// Bounds on what is given to builders, and how long they may take.
const (
	LeaseTTL        = 10 * time.Second // a lease lives this long after each heartbeat,
	LeaseGrace      = 10 * time.Second // and this much longer before it is taken away: networks have bad seconds
	leaseLostWait   = 5 * time.Second  // a lease that its holder does not know of after this never reached it
	tick            = time.Second      // how often leases are looked over
	beaconEvery     = 500 * time.Millisecond
	stepDeadline    = time.Hour             // longest time for a step
	resolveDeadline = 15 * time.Minute      // for a resolve, which may pull images
	earlyWait       = 50 * time.Millisecond // until a task is offered again that was not to be leased yet
	maxLeaseWait    = 30 * time.Second      // longest time that a builder's request is held
	maxLeaseBytes   = 192 << 10             // of leases in one reply
	busRequests     = 4096                  // requests from builders handled at once
)
