package coordinator

import "time"

// Bounds on what a coordinator holds, takes and waits for.
const (
	leaseTTL      = 10 * time.Second // a lease lives this long after each heartbeat,
	leaseGrace    = 10 * time.Second // and this much longer before it is taken away: networks have bad seconds
	leaseLostWait = 5 * time.Second  // a lease that its holder does not know of after this never reached it
	tick          = time.Second      // how often leases are looked over
	beaconEvery   = 500 * time.Millisecond

	stepDeadline    = time.Hour             // longest time for a step
	resolveDeadline = 15 * time.Minute      // for a resolve, which may pull images
	earlyWait       = 50 * time.Millisecond // until a task is offered again that was not to be leased yet
	maxLeaseWait    = 30 * time.Second      // longest time that a builder's request is held
	maxLeaseBytes   = 192 << 10             // of leases in one reply

	attachBytes      = 512 << 10              // of graph nodes in one command
	lookups          = 4                      // lookups under way at once, each of many results
	recordQueue      = 100_000                // records that wait to be written; beyond that they are dropped
	leadRetry        = 500 * time.Millisecond // until leadership that could not be taken up is tried again
	lookupWorkers    = 16                     // records read from the cache at once
	recordWorkers    = 4                      // records written at once
	buildJobs        = 4                      // graphs loaded and outputs gathered at once
	indexBytes       = 16 << 20               // of results held in memory
	busRequests      = 4096                   // requests from builders handled at once
	recordTimeout    = 30 * time.Second
	unreadTries      = 10 // times that a blob which is there is read
	unreadWait       = time.Second
	maxGraphBytes    = 256 << 20 // of a graph's blob
	maxGraphNodes    = 100_000
	maxParams        = 64 << 10 // bytes of a node's parameters
	maxArtifactBytes = 64 << 20 // of an artifact description

	ringBytes      = 4 << 20          // of events of one build that a watcher may still ask for
	keptFeeds      = 64               // ended builds whose events are kept
	clientPatience = 30 * time.Second // that a build goes on while nobody watches it

	electionTimeout = 400 * time.Millisecond // until a follower that hears no leader stands for election
	peerPing        = 2 * time.Second        // of silence on a connection to another coordinator, then it is asked
	announceLook    = 2 * time.Second        // how often a coordinator looks whether it is still a member
	announceTold    = 10 * time.Second       // how often it says why it is not
	announceRetry   = 200 * time.Millisecond // while it is not
	announceTimeout = 5 * time.Second
	leaderLook      = 50 * time.Millisecond // how often raft is asked who leads, while a request waits for that
	caughtUp        = 256                   // entries that one who joins may lag behind and yet vote
	leaderPatience  = 3 * time.Second       // that a follower waits for a new leader before it refuses a request
	removeReplaced  = 30 * time.Second      // of silence, then a coordinator goes whose place another has taken
	removeDead      = 72 * time.Hour        // of silence, then it goes anyway
	fullFarm        = 3                     // voters without which the loss of one is not survived
	handOverTimeout = 3 * time.Second       // for another coordinator to take leadership from one that ends
	closeTimeout    = 10 * time.Second
)
