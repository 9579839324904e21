package disk

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
)

func TestStampVouches(t *testing.T) {
	boot := bootID{1, 2, 3}
	now := time.Now().UnixNano()
	stamp := stampRecord{boot: boot, size: 10, mtime: 5, time: now}
	for _, tt := range []struct {
		name string
		boot bootID
		id   identity
		want bool
	}{
		{"for the file as it was", boot, identity{size: 10, mtime: 5, ctime: now}, true},
		{"for a file renamed right after", boot, identity{size: 10, mtime: 5, ctime: now + int64(time.Millisecond)}, true},
		{"not after a restart", bootID{4}, identity{size: 10, mtime: 5, ctime: now}, false},
		{"not where restarts cannot be told", bootID{}, identity{size: 10, mtime: 5, ctime: now}, false},
		{"not for another size", boot, identity{size: 11, mtime: 5, ctime: now}, false},
		{"not for another modification time", boot, identity{size: 10, mtime: 6, ctime: now}, false},
		{"not when the inode was changed later", boot, identity{size: 10, mtime: 5, ctime: now + int64(time.Second)}, false},
		{"not when the clock was set back", boot, identity{size: 10, mtime: 5, ctime: now - int64(time.Second)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			read, ok := decodeStamp(stamp.encode())
			if got := read.vouches(tt.boot, tt.id); !ok || got != tt.want {
				t.Errorf("got %t (%t), want %t", got, ok, tt.want)
			}
		})
	}
	if _, ok := decodeStamp(make([]byte, stampSize-1)); ok {
		t.Error("a short stamp is accepted")
	}
}

// isStamped says whether the blob would be used without hashing it.
func isStamped(t *testing.T, d *Store, digest cache.Digest) bool {
	t.Helper()
	f, err := os.Open(d.blobFile(digest))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	id, err := identify(f)
	if err != nil {
		t.Fatal(err)
	}
	return d.stamped(f, digest, id)
}

func TestNewBlobIsStamped(t *testing.T) {
	d := openDir(t)
	if digest := putBlob(t, d, []byte("kiln")); !isStamped(t, d, digest) {
		t.Error("it is not")
	}
}

func TestUseIsNotedOnceADay(t *testing.T) {
	d := openDir(t)
	digest := putBlob(t, d, []byte("kiln"))
	file := d.blobFile(digest)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Now().Add(-72*time.Hour), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	readBlob(t, d, digest)
	var used time.Time
	err = d.List(context.Background(), cache.BlobPrefix, func(e cache.Entry) error {
		used = e.LastUse
		return nil
	})
	if err != nil || time.Since(used) > time.Hour {
		t.Errorf("last use: %v, %v; want now", used, err)
	}
	if !isStamped(t, d, digest) {
		t.Error("noting the use spoilt the stamp")
	}
}

func TestWithoutStampsMemoryVouches(t *testing.T) {
	d := openDir(t)
	d.boot = bootID{} // as where restarts cannot be told
	content := bytes.Repeat([]byte("kiln"), 1000)
	digest := putBlob(t, d, content)
	readBlob(t, d, digest)
	if !isStamped(t, d, digest) {
		t.Error("a blob that was read is not remembered")
	}
	flip(t, d.blobFile(digest))
	if missing, err := d.MissingBlobs(context.Background(), []cache.Digest{digest}); err != nil || len(missing) != 1 {
		t.Errorf("changed after it was remembered: got %v, %v; want it missing", missing, err)
	}
}

func TestUnstampedBlobIsHashedAndStampedAgain(t *testing.T) {
	d := openDir(t)
	digest := putBlob(t, d, []byte("kiln"))
	d.boot = bootID{9} // as after a restart
	if isStamped(t, d, digest) {
		t.Fatal("the stamp of another run of the machine vouches")
	}
	readBlob(t, d, digest)
	if !isStamped(t, d, digest) {
		t.Error("it was not stamped again")
	}
}
