package results

import "time"

// Bounds on what is looked up, read and written.
const (
	attachBytes      = 512 << 10 // of graph nodes in one command
	lookups          = 4         // lookups under way at once, each of many results
	recordQueue      = 100_000   // records that wait to be written; beyond that they are dropped
	lookupWorkers    = 16        // records read from the cache at once
	recordWorkers    = 4         // records written at once
	buildJobs        = 4         // graphs loaded and outputs gathered at once
	IndexBytes       = 16 << 20  // of results held in memory
	recordTimeout    = 30 * time.Second
	maxGraphBytes    = 256 << 20 // of a graph's blob
	maxGraphNodes    = 100_000
	maxParams        = 64 << 10 // bytes of a node's parameters
	maxArtifactBytes = 64 << 20 // of an artifact description
)
