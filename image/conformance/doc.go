// Package conformance holds Kiln against LinuxKit: the tars that Kiln makes of our own cases must have the SHA-256 that
// LinuxKit's have, byte for byte, for every architecture, and the initrds must unpack to the same trees.
//
// The cases run in this process, without a registry or a farm: images are made from fixtures straight into a cache,
// and the planner's graph is run step by step. The package has tests only.
package conformance
