package wrap

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"golang.org/x/sys/unix"
)

// A blob in the shared store is read past a full local disk while it is small; a large one says that the disk is full.
func TestSmallBlobsAreReadPastAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounts a small disk; needs root")
	}
	ctx := context.Background()
	full := t.TempDir()
	if err := unix.Mount("tmpfs", full, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no disk of a bounded size can be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(full, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	shared, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	local, err := disk.Open(full)
	if err != nil {
		t.Fatal(err)
	}
	through := NewReadThrough(local, shared, ReadThroughOptions{})
	put := func(n int) cache.Digest {
		data := bytes.Repeat([]byte{7}, n)
		d := cache.SumBytes(data)
		if err := shared.Put(ctx, cache.BlobKey(d), bytes.NewReader(data), int64(n), cache.IfAbsent); err != nil {
			t.Fatal(err)
		}
		return d
	}
	small, large := put(3<<20), put(maxInMemory+1)
	r, err := through.Get(ctx, cache.BlobKey(small), 1<<20, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, bytes.Repeat([]byte{7}, 100)) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if _, err := through.Open(ctx, large); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v, want that the disk is full", err)
	}
}
