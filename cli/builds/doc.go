// Package builds is the verbs that look at builds and at what waits: builds, logs, queue, explain, and cancel, which ends them.
//
// It starts no build and writes no file.
package builds
