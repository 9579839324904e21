package coordinator

import "time"

// Bounds on what a replica takes and waits for.
const (
	maxBatch      = 512       // commands in one entry of the log
	maxBatchBytes = 256 << 10 // and their size, but for a command that is larger alone
	applyTimeout  = 10 * time.Second
	peerTimeout   = 3 * time.Second // to connect to another coordinator, and for its answers to raft
	peerConns     = 3               // of raft kept open to each other coordinator
)
