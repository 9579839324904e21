package prune

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
)

func blobFile(d *disk.Store, digest cache.Digest) string {
	return filepath.Join(d.Path(), cache.BlobKey(digest).String())
}

func TestTheLocalDiskStaysWithinItsLimit(t *testing.T) {
	dir, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	now := time.Now()
	put := func(name string, size int, used time.Duration) cache.Digest {
		data := bytes.Repeat([]byte(name), size/len(name)+1)[:size]
		d := cache.SumBytes(data)
		if err := dir.Put(ctx, cache.BlobKey(d), bytes.NewReader(data), int64(size), cache.IfAbsent); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(blobFile(dir, d), now.Add(-used), now.Add(-used)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	var old []cache.Digest
	for i := range 10 {
		old = append(old, put(fmt.Sprintf("o%d", i), 1000, time.Duration(100-i)*time.Hour))
	}
	fresh := put("fresh", 4000, time.Minute)
	open, err := dir.Open(ctx, old[0])
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := os.Chtimes(blobFile(dir, old[0]), now.Add(-200*time.Hour), now.Add(-200*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := Evict(ctx, dir, 20_000, now); err != nil {
		t.Fatal(err)
	}
	if missing, _ := dir.MissingBlobs(ctx, old); len(missing) != 0 {
		t.Fatalf("%d are gone although there was room", len(missing))
	}
	for i, d := range old { // the look at them was a use
		at := now.Add(-time.Duration(100-i) * time.Hour)
		if err := os.Chtimes(blobFile(dir, d), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := Evict(ctx, dir, 10_000, now); err != nil {
		t.Fatal(err)
	}
	missing, err := dir.MissingBlobs(ctx, old)
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) != 5 || missing[0] != old[0] || missing[4] != old[4] {
		t.Errorf("%d are gone, want the five that were not used for longest", len(missing))
	}
	if missing, _ := dir.MissingBlobs(ctx, []cache.Digest{fresh}); len(missing) != 0 {
		t.Error("what was used just now is gone")
	}
	if data := make([]byte, 1000); func() int { n, _ := open.ReadAt(data, 0); return n }() != 1000 {
		t.Error("an open file cannot be read any more")
	}
}
