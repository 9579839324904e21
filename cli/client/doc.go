// Package client is a client's side of a farm: it submits a build, follows it to its end whatever happens to the
// connection, and moves blobs to and from it.
//
// A farm at a URL and one inside the process are used through the same API. They differ in where their blobs are:
// behind /v1/blobs/ or in a cache that this process reads itself. Bytes that came over a network are checked
// against their digests while they stream.
//
// The package shows nothing to anybody and writes no file of its own.
package client
