package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Errors that callers decide on.
var (
	// ErrNotFound: the store has nothing under that key, or what it had was not what it should be and is gone now.
	ErrNotFound = errors.New("not in the cache")
	// ErrDamaged is an ErrNotFound: there is something under that key, and it is not what was put there, or no record of
	// its kind. Whoever made it may make it again; IfAbsent does not keep it where the backend can tell.
	ErrDamaged = fmt.Errorf("%w", ErrNotFound)
	// ErrMismatch: bytes on their way in are not the bytes that their digest promises. Nothing was kept.
	ErrMismatch = errors.New("bytes do not match their digest")
	// ErrUnavailable: the server of a store beyond a network failed, or did not answer, for as long as an operation is
	// tried. Later it may go well.
	ErrUnavailable = errors.New("the shared cache is not available")
	// ErrRefused: the server refuses the operation, and will again: wrong credentials, no such bucket, no right to it.
	ErrRefused = errors.New("the shared cache refuses")
)

// AbsentError is ErrNotFound with the digest of the blob that is not there.
type AbsentError struct {
	Digest Digest
	Err    error
}

func (e *AbsentError) Error() string { return "blob " + e.Digest.String() + ": " + e.Err.Error() }
func (e *AbsentError) Unwrap() error { return e.Err }

// IgnoreNotFound is err, or nil when err is ErrNotFound.
func IgnoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// MaxRecord is the size, in bytes, that the value of a key which is no blob's may have. The record of a build is the
// largest that there is: it grows with the build's graph, which the coordinator bounds as well.
const MaxRecord = 256 << 20

// PutMode says what Put does when the key is there already.
type PutMode int

const (
	IfAbsent PutMode = iota // keep what is there; not an error
	Replace                 // last writer wins, whole
)

// Entry is what List tells of one key.
type Entry struct {
	Key     Key
	Size    int64     // what the value takes in the store, in bytes: zeros in it, or what compresses, may take none
	LastUse time.Time // to the day, or better: what prune goes by
}

// Store is a backend. All methods may be called by many goroutines and, on one directory or bucket, many
// processes at once. A key is either absent or has one whole value.
type Store interface {
	// Get reads n bytes from offset; n < 0 means to the end. ErrNotFound when the key is absent. Asking beyond
	// the end gives what there is. Idempotent.
	Get(ctx context.Context, key Key, offset, n int64) (io.ReadCloser, error)
	// Put stores size bytes of r (size < 0: until EOF) under key. A blob key's bytes are checked against its
	// digest: ErrMismatch, and nothing stored, when they differ. Idempotent with IfAbsent.
	Put(ctx context.Context, key Key, r io.Reader, size int64, mode PutMode) error
	// Missing returns those of keys that are absent, in their order.
	Missing(ctx context.Context, keys []Key) ([]Key, error)
	// List calls f for every key that starts with prefix, in no order, until f returns an error, which it returns.
	List(ctx context.Context, prefix string, f func(Entry) error) error
	// Delete removes key; an absent key is no error.
	Delete(ctx context.Context, key Key) error
}

// Draft is a blob in the making. Commit or CommitAs gives the blob its name; Abort after either does nothing, so that
// it can be deferred. After a fault nothing is kept. One goroutine at a time may use a draft.
type Draft interface {
	io.Writer
	io.ReaderFrom
	// Size is how many bytes were written so far.
	Size() int64
	// Commit stores what was written and returns its digest and size.
	Commit() (Digest, int64, error)
	// CommitAs is Commit for bytes that must have digest want: ErrMismatch, and nothing stored, when they have not.
	CommitAs(want Digest) (int64, error)
	// Abort drops what was written.
	Abort()
}

// Blobs is what steps read and write: whole, verified, local files.
type Blobs interface {
	// Open returns the blob, fetched first if it must be. ErrNotFound when nobody has it.
	Open(ctx context.Context, d Digest) (*File, error)
	// Create starts a blob whose digest is known only at its end.
	Create(ctx context.Context) (Draft, error)
	// Scratch is a file for what a step cannot hold in memory. It has no name and is gone when it is closed.
	Scratch(ctx context.Context) (*os.File, error)
	// MissingBlobs returns those of digests that Open would not find, in their order.
	MissingBlobs(ctx context.Context, digests []Digest) ([]Digest, error)
}
