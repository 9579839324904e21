package squashfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
)

// TestFilesByNumber opens files as an NFS server does, by what it told clients before it was started again.
func TestFilesByNumber(t *testing.T) {
	s := fstreetest.New(t)
	lower, _ := fstreetest.Awkward(blockSize, fstreetest.Limits{})
	file, _ := image(t, s, Gzip, fstree.Options{}, s.Part(lower...))
	handles := map[string]unix.FileHandle{}
	t.Run("before", func(t *testing.T) {
		walkMounted(t, file, func(_ *os.File, name, path string) {
			handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			handles[name] = handle
		})
	})
	walkMounted(t, file, func(dir *os.File, name, path string) {
		fd, err := unix.OpenByHandleAt(int(dir.Fd()), handles[name], unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer unix.Close(fd)
		var got, want unix.Stat_t
		if err := unix.Fstat(fd, &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := unix.Lstat(path, &want); err != nil {
			t.Fatal(err)
		}
		if got.Ino != want.Ino || got.Mode != want.Mode || got.Size != want.Size || got.Mtim != want.Mtim {
			t.Errorf("%s: by its number %+v, by its name %+v", name, got, want)
		}
	})
}

func walkMounted(t *testing.T, image string, f func(dir *os.File, name, path string)) {
	t.Helper()
	root := fstreetest.Mount(t, "squashfs", image)
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			f(dir, path[len(root):], path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
