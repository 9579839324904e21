// Package lab runs a real farm on this machine for tests and measurements: coordinators, builders and edges that are
// processes of the kiln program, each with a data directory of its own, which can be killed, paused, started again, robbed
// of their disks and cut off from each other. A Room is where machines boot from its edges, each over a Cable that shows
// every frame; a Guest is a part of its network where something of the lab's user runs.
//
// Everything that a lab starts ends with it, even when the process that runs the lab is killed. The lab decides nothing:
// which faults happen, when, and what must hold meanwhile is the business of its users.
package lab
