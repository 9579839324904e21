// Package qemu says how to start an image in QEMU: what an image is, by looking at it, and the command line of the
// machine that boots it, with the firmware that it is for.
//
// Detect reads files; Command is pure. Nothing here starts anything.
package qemu
