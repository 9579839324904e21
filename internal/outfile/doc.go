// Package outfile writes files that a user asked for: whole or not at all. What is written waits beside its place, without
// blocks for long runs of zeros, and gets its name when all of it is there; devices and pipes are written to as they are.
//
// A disk that is full or read-only is told as a sentence. The package never leaves a part of a file behind, and does not wait
// for the disk: what must survive a power cut goes through package durable.
package outfile
