// Package results is the duty that finds what steps made: it looks new steps up in an index and in the cache, loads the graphs of
// plans, gathers outputs, and writes the records of steps and builds.
//
// It never holds a blob in memory but a graph or the description of an output, and never believes a record whose blobs are
// not there.
package results
