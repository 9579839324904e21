package replica

import "time"

// Bounds on what a replica takes and waits for.
const (
	MaxBatch      = 512       // commands in one entry of the log
	maxBatchBytes = 256 << 10 // and their size, but for a command that is larger alone
	ApplyTimeout  = 10 * time.Second
	PeerTimeout   = 3 * time.Second // to connect to another coordinator, and for its answers to raft
	peerConns     = 3               // of raft kept open to each other coordinator
)
