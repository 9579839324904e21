// Package dispatch is the duty that gives builders work: it ranks what is ready, shares builders fairly among teams, commits
// leases before they are told, and takes them back from builders that are gone, stuck or faulty.
//
// The policy (policy.go) waits for nothing and remembers nothing. The package never runs a step, never looks a result up, and
// never leases what the state does not call ready.
package dispatch
