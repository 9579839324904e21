package fstreetest

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/extents"
)

// Image writes a list to a file of its own and returns its name.
func (s *Store) Image(l *extents.List) string {
	s.t.Helper()
	name := filepath.Join(s.t.TempDir(), "image")
	f, err := os.Create(name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Copy(&holes{f}, l.Artifact())
	if err := f.Truncate(l.Size()); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// holes writes to a file what is not zeros.
type holes struct{ f *os.File }

var zeros [64 << 10]byte

func (h *holes) Write(p []byte) (int, error) {
	if len(p) <= len(zeros) && bytes.Equal(p, zeros[:len(p)]) {
		_, err := h.f.Seek(int64(len(p)), io.SeekCurrent)
		return len(p), err
	}
	return h.f.Write(p)
}

// Tool runs a program of the filesystem's own tools; the test is skipped where the machine has none.
func Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed here, so it cannot say what it thinks of the image", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// Root skips a test that only root can run.
func Root(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount, and unpack owners and devices")
	}
}

// Mount mounts an image read-only until the test ends. The test is skipped where Linux cannot.
func Mount(t testing.TB, kind, image string) string {
	t.Helper()
	Root(t)
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", kind, "-o", "loop,ro", image, dir).CombinedOutput(); err != nil {
		known, _ := os.ReadFile("/proc/filesystems")
		if !slices.Contains(strings.Fields(string(known)), kind) {
			t.Skipf("Linux has no %s here, so nothing can be mounted: %s", kind, out)
		}
		log, _ := exec.Command("dmesg").Output()
		t.Fatalf("mount the %s image: %v\n%s\n%s", kind, err, out, log[max(0, len(log)-2000):])
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v\n%s", err, out)
		}
	})
	return dir
}
