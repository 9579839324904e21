// Package plan turns a configuration, and what its image references mean, into the graph of steps that builds it.
//
// All knowledge of how LinuxKit lays out a root filesystem is here: the order of its parts, where each container's
// bundle goes, which user ids names stand for, which containers share a root filesystem, and the bytes of every
// generated file. These couplings between distant lines of a YAML are resolved into concrete bytes and paths, so that
// no step's key depends on more than it must: a service added in front leaves the root filesystems, configurations and
// initrd parts of all others as they were.
//
// The root filesystem is a list of parts (see part). Each part becomes a segment of the tar and a part of the initrd;
// the table of formats says which of these an output needs. Generated files are trees of their own, stored through
// Store. Equal nodes are one node, over platforms and formats, which is what makes steps shared.
//
// Plan is pure: the same configuration, lock and parameters give the same graph. It never resolves a reference,
// reads layers, or looks at a clock.
package plan
