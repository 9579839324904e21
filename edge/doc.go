// Package edge serves what was built to machines that boot: outputs over HTTP, and a script for iPXE.
//
// It reads the cache and nothing else: any number of edges may run beside one cache, and any of them may die. An output is
// one file made of extents; its bytes go from the cache's files to the socket without passing through this process.
// Paths in requests are looked up among records and digests and never used as paths on disk. The edge never writes.
package edge
