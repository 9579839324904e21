// Package cache keeps what Kiln must not make or fetch twice: blobs under the digest of their bytes, and
// small records under names (results of steps, meanings of references, images by name, finished builds).
//
// A Store is a backend with five methods; a directory (Dir) and S3 are backends. Behaviours that any backend
// may have (verifying, read-through, metrics, limits) are wrappers, one file each. Blobs is what steps
// read and write: always whole local files, so that bytes are streamed, never held.
//
// Bytes are verified where they enter a store and where a store cannot vouch for them any more. A mismatch is
// a miss: the blob is dropped and ErrNotFound returned, so that whoever needs it makes or fetches it again.
//
// The package never talks to other parts of Kiln and never interprets what a blob means, but for artifacts,
// which are lists of extents over blobs, and for what an image manifest refers to, when Prune must keep it.
package cache
