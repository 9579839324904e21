package cachetest

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kiln-farm/kiln/cache"
)

// RunBlobs checks the contract of cache.Blobs. open returns an empty one, for each case a new one.
func RunBlobs(t *testing.T, open func(t *testing.T) cache.Blobs) {
	cases := []struct {
		name string
		run  func(t *testing.T, b cache.Blobs)
	}{
		{"a committed draft can be opened", commitAndOpen},
		{"an aborted draft leaves nothing", abort},
		{"a draft of other bytes than promised is refused", commitMismatch},
		{"a finished draft takes nothing more", finished},
		{"missing keeps the order asked for", missingBlobs},
		{"many may open one blob at once", concurrentOpens},
		{"a scratch file has room and no name", scratch},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func draftOf(t *testing.T, b cache.Blobs, value string) cache.Draft {
	t.Helper()
	draft, err := b.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(draft, strings.NewReader(value)); err != nil {
		t.Fatal(err)
	}
	if draft.Size() != int64(len(value)) {
		t.Errorf("draft has %d bytes, want %d", draft.Size(), len(value))
	}
	return draft
}

func commit(t *testing.T, b cache.Blobs, value string) cache.Digest {
	t.Helper()
	digest, size, err := draftOf(t, b, value).Commit()
	if err != nil || digest != cache.SumBytes([]byte(value)) || size != int64(len(value)) {
		t.Fatalf("commit: got %s, %d, %v", digest, size, err)
	}
	return digest
}

func wantBlob(t *testing.T, b cache.Blobs, value string) {
	t.Helper()
	f, err := b.Open(context.Background(), cache.SumBytes([]byte(value)))
	if err != nil {
		t.Errorf("open: %v", err)
		return
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || string(got) != value || f.Size != int64(len(value)) || f.Digest != cache.SumBytes(got) {
		t.Errorf("got %.40q (size %d, digest %s), %v; want %.40q", got, f.Size, f.Digest, err, value)
	}
}

func wantNoBlob(t *testing.T, b cache.Blobs, value string) {
	t.Helper()
	if f, err := b.Open(context.Background(), cache.SumBytes([]byte(value))); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("open %.40q: got %v, %v; want ErrNotFound", value, f, err)
	}
}

func commitAndOpen(t *testing.T, b cache.Blobs) {
	for _, value := range []string{"", "a", strings.Repeat("kiln", 300_000), "a"} {
		commit(t, b, value)
		wantBlob(t, b, value)
	}
}

func abort(t *testing.T, b cache.Blobs) {
	draftOf(t, b, "aborted").Abort()
	wantNoBlob(t, b, "aborted")
}

func commitMismatch(t *testing.T, b cache.Blobs) {
	for _, want := range []cache.Digest{cache.SumBytes([]byte("right")), {}} {
		if _, err := draftOf(t, b, "wrong").CommitAs(want); !errors.Is(err, cache.ErrMismatch) {
			t.Errorf("got %v, want ErrMismatch", err)
		}
	}
	wantNoBlob(t, b, "right")
	wantNoBlob(t, b, "wrong")
	if size, err := draftOf(t, b, "right").CommitAs(cache.SumBytes([]byte("right"))); err != nil || size != 5 {
		t.Errorf("got %d, %v; want 5", size, err)
	}
	wantBlob(t, b, "right")
}

func finished(t *testing.T, b cache.Blobs) {
	draft := draftOf(t, b, "value")
	if _, _, err := draft.Commit(); err != nil {
		t.Fatal(err)
	}
	draft.Abort()
	wantBlob(t, b, "value")
	if _, err := draft.Write([]byte("more")); err == nil {
		t.Error("a committed draft accepts a write")
	}
	if _, _, err := draft.Commit(); err == nil {
		t.Error("a committed draft accepts a commit")
	}
}

func missingBlobs(t *testing.T, b cache.Blobs) {
	here := commit(t, b, "here")
	gone1, gone2 := cache.SumBytes([]byte("gone 1")), cache.SumBytes([]byte("gone 2"))
	got, err := b.MissingBlobs(context.Background(), []cache.Digest{gone2, here, {}, gone1, here})
	if want := []cache.Digest{gone2, {}, gone1}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func concurrentOpens(t *testing.T, b cache.Blobs) {
	value := strings.Repeat("kiln", 100_000)
	commit(t, b, value)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { wantBlob(t, b, value) })
	}
	wg.Wait()
}

func scratch(t *testing.T, b cache.Blobs) {
	f, err := b.Scratch(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, "spilled"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 7)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != "spilled" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := os.Stat(f.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there as %s: %v", f.Name(), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if f, err := b.Scratch(ctx); err == nil {
		f.Close()
		t.Error("a context that has ended got a file")
	}
}
