// Package extsort sorts more records than memory holds: sorted runs in one scratch file, merged as they are read.
//
// What grows with the input (names of an image's files, digests of a cache) is put in order here and then read once,
// front to back, by who needs no more than what stands next to each other. Records are bytes and compare as bytes, so an
// order is a matter of how a key is written. Nothing touches the disk as long as all records fit into memory.
//
// It never drops equal records, and never keeps a file after Close.
package extsort
