// Package cache is the contract of what keeps the things that Kiln must not make or fetch twice: blobs under the digest
// of their bytes, and small records under names (results of steps, meanings of references, images by name, finished
// builds).
//
// A Store is a backend with five methods; disk and s3 are backends. Behaviours that any backend may have are wrappers,
// in wrap. Blobs is what steps read and write: always whole local files, so that bytes are streamed, never held. What
// is in the records is record's and artifact's; tiered puts the cache of one part of a farm together.
//
// Bytes are verified where they enter a store and where a store cannot vouch for them any more. A mismatch is
// a miss: the blob is dropped and ErrNotFound returned, so that whoever needs it makes or fetches it again.
//
// Nothing here or below ever talks to other parts of Kiln, or interprets what a blob means, but for artifacts, which are
// lists of extents over blobs, and for what an image manifest refers to, when prune must keep it. This package itself
// stores nothing and knows no backend.
package cache
