// Package replica is a coordinator's part in raft: the log and its snapshots on disk, the connections to the other
// coordinators, the state machine that the log is applied to, and the proposer that batches commands into entries.
//
// It takes a log as the truth and says nothing of what should be in it: which commands there are and what they mean is
// state's, who proposes them is decided elsewhere. It never reads the clock of the state, and never applies an entry of a
// feature level that this program does not know.
package replica
