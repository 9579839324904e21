package disk

import (
	"encoding/binary"
	"io/fs"
	"os"
	"time"

	"github.com/kiln-farm/kiln/cache"
)

// A stamp is an extended attribute of a blob's file that says: these bytes were verified, at this time, since
// the machine was last started. It replaces both syncing every blob to disk and hashing every blob before every
// use. It vouches for the file only while
//
//   - the machine has not been restarted since: a power cut may leave any bytes in a file that was not synced;
//   - size and modification time are what they were, to the nanosecond;
//   - the inode was not changed after the stamp was set (change time, which no program can set back).
//
// Setting the attribute and renaming the file change the inode themselves, which is what stampSlack allows for.
// A blob without a valid stamp is hashed and stamped again. Where stamps cannot be set (no extended attributes,
// another owner), a blob is hashed once by each process that uses it.
type stampRecord struct {
	boot  bootID
	size  int64
	mtime int64 // ns since 1970
	time  int64 // ns since 1970
}

const (
	stampName = "user.kiln.verified"
	stampSize = 16 + 3*8
	// stampSlack is how far the inode's change time may be from the stamp's. The clock behind change times moves
	// in ticks of up to 10 ms, and a rename follows the stamp.
	stampSlack = 50 * time.Millisecond
	// useInterval is how exactly the last use of a value is known.
	useInterval = 24 * time.Hour
)

// bootID names one run of the machine; zero when it cannot be told.
type bootID [16]byte

func (s stampRecord) encode() []byte {
	b := make([]byte, 0, stampSize)
	b = append(b, s.boot[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.size))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.mtime))
	return binary.LittleEndian.AppendUint64(b, uint64(s.time))
}

func decodeStamp(b []byte) (s stampRecord, ok bool) {
	if len(b) != stampSize {
		return s, false
	}
	copy(s.boot[:], b)
	s.size = int64(binary.LittleEndian.Uint64(b[16:]))
	s.mtime = int64(binary.LittleEndian.Uint64(b[24:]))
	s.time = int64(binary.LittleEndian.Uint64(b[32:]))
	return s, true
}

// vouches says whether s speaks for the file that id describes.
func (s stampRecord) vouches(boot bootID, id identity) bool {
	drift := time.Duration(id.ctime - s.time).Abs()
	return boot != bootID{} && s.boot == boot && s.size == id.size && s.mtime == id.mtime && drift <= stampSlack
}

// identity is what a file's inode says of it. Equal identities are equal bytes, as far as this machine runs on.
type identity struct {
	device, inode      uint64
	size, mtime, ctime int64 // bytes; ns since 1970
	atime              int64
}

func identify(f *os.File) (identity, error) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	return identityOf(info), nil
}

// unused is id without the time of the last use, which every reader may change.
func (id identity) unused() identity {
	id.atime = 0
	return id
}

func (id identity) sameFile(info fs.FileInfo) bool {
	other := identityOf(info)
	return id.device == other.device && id.inode == other.inode
}

// stamped says whether the file's stamp, or this process's memory, vouches for f.
func (d *Store) stamped(f *os.File, digest cache.Digest, id identity) bool {
	if s, ok := decodeStamp(readStamp(f)); ok && s.vouches(d.boot, id) {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	known, ok := d.trusted[digest]
	return ok && known == id.unused()
}

// stamp records that f's bytes were right while its inode was as id says.
func (d *Store) stamp(f *os.File, digest cache.Digest, id identity) {
	s := stampRecord{boot: d.boot, size: id.size, mtime: id.mtime, time: time.Now().UnixNano()}
	if d.boot != (bootID{}) && writeStamp(f, s.encode()) == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.trusted) >= maxTrusted {
		clear(d.trusted)
	}
	d.trusted[digest] = id.unused()
}

// maxTrusted bounds the memory of verified blobs; beyond it some are hashed again.
const maxTrusted = 1 << 16

// touch notes that the blob, whose bytes were right while its inode was as id says, was used: at most once a day.
// It says whether it did, and then the blob has a new stamp.
func (d *Store) touch(f *os.File, digest cache.Digest, id identity) bool {
	if !dueForTouch(id) || os.Chtimes(f.Name(), time.Now(), time.Unix(0, id.mtime)) != nil {
		return false // in a cache that we may only read, everything stays as it is
	}
	now, err := identify(f)
	if err != nil || now.inode != id.inode || now.size != id.size || now.mtime != id.mtime {
		return false
	}
	d.stamp(f, digest, now)
	return true
}

func dueForTouch(id identity) bool {
	return time.Since(time.Unix(0, id.atime)) > useInterval
}

// lastUse is the access time, which touch sets where the file system does not.
func lastUse(info fs.FileInfo) time.Time { return time.Unix(0, identityOf(info).atime) }

// touchRecord notes that a record was used.
func touchRecord(f *os.File) {
	id, err := identify(f)
	if err == nil && dueForTouch(id) {
		_ = os.Chtimes(f.Name(), time.Now(), time.Unix(0, id.mtime)) // a cache that we may only read stays as it is
	}
}
