//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestATreeIsMovedWhole(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	at := func(dir string, name ...string) string { return filepath.Join(append([]string{dir}, name...)...) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(at(from, "bin"), 0o755))
	must(os.WriteFile(at(from, "bin", "a"), []byte("program"), 0o600))
	must(os.Chmod(at(from, "bin", "a"), 0o755|os.ModeSetgid))
	must(os.Link(at(from, "bin", "a"), at(from, "bin", "b")))
	must(os.Symlink("a", at(from, "bin", "c")))
	must(unix.Mkfifo(at(from, "pipe"), 0o644))
	must(os.Mkdir(at(from, "secret"), 0o700))

	must(moveTree(from, to))

	if got, err := os.ReadFile(at(to, "bin", "b")); string(got) != "program" {
		t.Errorf("got the content %q, %v, want program", got, err)
	}
	if got, err := os.Readlink(at(to, "bin", "c")); got != "a" {
		t.Errorf("got the link %q, %v, want a", got, err)
	}
	var a, b, pipe, secret unix.Stat_t
	must(unix.Stat(at(to, "bin", "a"), &a))
	must(unix.Stat(at(to, "bin", "b"), &b))
	must(unix.Stat(at(to, "pipe"), &pipe))
	must(unix.Stat(at(to, "secret"), &secret))
	if a.Ino != b.Ino || a.Mode != unix.S_IFREG|unix.S_ISGID|0o755 {
		t.Errorf("got inodes %d and %d and mode %o, want one inode and mode 102755", a.Ino, b.Ino, a.Mode)
	}
	if pipe.Mode != unix.S_IFIFO|0o644 || secret.Mode != unix.S_IFDIR|0o700 {
		t.Errorf("got modes %o and %o, want a pipe of 644 and a directory of 700", pipe.Mode, secret.Mode)
	}
	left, err := os.ReadDir(from)
	if err != nil || len(left) != 0 {
		t.Errorf("got %v left behind, %v, want nothing", left, err)
	}
}
