package disk

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kiln-farm/kiln/cache"
)

func TestFullDiskIsASentenceAndLeavesNothing(t *testing.T) {
	d := openDir(t)
	begun, err := d.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	draft := begun.(*draft)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	defer full.Close()
	fd, err := syscall.Dup(int(full.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = draft.file.Close()
	draft.file = os.NewFile(uintptr(fd), draft.file.Name())
	_, err = draft.ReadFrom(bytes.NewReader(bytes.Repeat([]byte{1}, 2*draftBuffer)))
	want := "write a blob: the disk of the cache directory " + d.root + " is full: free some space (kiln cache prune) or choose another directory: no space left on device"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, _, err := draft.Commit(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("commit after that: got %v, want the same fault", err)
	}
	if left, err := os.ReadDir(filepath.Join(d.root, tmpDir)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWriteErrorsAreSentences(t *testing.T) {
	d := &Store{root: "/c"}
	for _, tt := range []struct {
		errno syscall.Errno
		want  string
	}{
		{syscall.EROFS, "store x: the cache directory /c cannot be written to: choose another one or change its permissions: read-only file system"},
		{syscall.EACCES, "store x: the cache directory /c cannot be written to: choose another one or change its permissions: permission denied"},
		{syscall.EDQUOT, "store x: the disk of the cache directory /c is full: free some space (kiln cache prune) or choose another directory: disk quota exceeded"},
	} {
		err := d.writeError("store x", &fs.PathError{Op: "open", Path: "/c/tmp/draft-1", Err: tt.errno})
		if err.Error() != tt.want || !errors.Is(err, tt.errno) {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
}

func TestOpenWhereAFileIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(file)
	if err == nil || !strings.Contains(err.Error(), "cache directory "+file+" cannot be made: not a directory") {
		t.Errorf("got %v", err)
	}
}

func TestKeysNeverLeaveTheDirectory(t *testing.T) {
	d := openDir(t)
	for _, key := range []cache.Key{
		cache.NameKey("../../etc/passwd"), cache.NameKey("/etc/passwd"), cache.NameKey("a//b/./.."), cache.NameKey(""), cache.RefKey("..", "../..", ".."),
		cache.BuildKey("../x", "\x00"), cache.BlobKey(cache.Digest{}), cache.ResultKey(cache.Digest{}),
	} {
		if rel, err := filepath.Rel(d.root, d.file(key)); err != nil || !filepath.IsLocal(rel) {
			t.Errorf("%s is at %s", key, d.file(key))
		}
		if again, err := cache.ParseKey(key.String()); err != nil || again != key {
			t.Errorf("%q does not parse as itself: %v, %v", key, again, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "../a", "/a", "a/../b", "a//b", "a/"} {
		if key, err := cache.ParseKey(bad); err == nil {
			t.Errorf("%q is accepted as %v", bad, key)
		}
	}
}
