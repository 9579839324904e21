// Package coordinator takes builds, decides what runs where, and remembers it in raft.
//
// What was decided is in package state, a pure machine that every coordinator of a farm applies the same log to; raft and
// the log are package replica. What a coordinator does while it leads is a list of duties, each a package (names, dispatch,
// results, …), run by package lead: see duties in leader.go. This package is their wiring, the meeting
// with other coordinators, and the API in front, which answers over HTTP.
//
// The package never runs a step, never interprets a configuration, and never holds a blob in memory but a graph.
package coordinator
