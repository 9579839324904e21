// Package coordinator takes builds, decides what runs where, and remembers it in raft.
//
// What was decided is in package state, a pure machine that every coordinator of a farm applies the same log to.
// Around it are: the node (raft, in memory or on disk), the proposer (batches commands into log entries), and,
// on the leader alone, the driver (looks results up, loads graphs, writes records), the scheduler (pairs ready
// tasks with builders that ask), the publisher (keeps names in DNS in step with what is bound) and the events that
// watchers see. The API in front answers over HTTP.
//
// Leader's duties start with leadership and end with it; whatever they did not finish, the next leader finds in
// the state and does again, so each is idempotent.
//
// The package never runs a step, never interprets a configuration, and never holds a blob in memory but a graph.
package coordinator
