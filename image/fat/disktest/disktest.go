// Package disktest helps to test formats of disks and files that are lists of extents: contents are blobs in a real
// cache directory, results are read as a client reads artifacts, and judged by the tools of others where they are there.
package disktest

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/extents"
)

// Store is a cache directory for one test.
type Store struct {
	t   testing.TB
	Dir *cache.Dir
}

// New opens an empty store.
func New(t testing.TB) *Store {
	t.Helper()
	dir, err := cache.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &Store{t: t, Dir: dir}
}

// Blob stores p and returns a list of it.
func (s *Store) Blob(p []byte) *extents.List {
	s.t.Helper()
	draft, err := s.Dir.Create(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	defer draft.Abort()
	if _, err := draft.Write(p); err != nil {
		s.t.Fatal(err)
	}
	digest, size, err := draft.Commit()
	if err != nil {
		s.t.Fatal(err)
	}
	return extents.Blob(digest, size)
}

// Open reads a list as a client would.
func (s *Store) Open(l *extents.List) *cache.ArtifactReader {
	s.t.Helper()
	r, err := cache.OpenArtifact(context.Background(), s.Dir, l.Artifact())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = r.Close() })
	return r
}

// Read returns n bytes of a list from off.
func (s *Store) Read(l *extents.List, off, n int64) []byte {
	s.t.Helper()
	p := make([]byte, n)
	if got, err := s.Open(l).ReadAt(p, off); err != nil {
		s.t.Fatalf("read %d bytes at %d of %d: %d and %v", n, off, l.Size(), got, err)
	}
	return p
}

// Bytes returns all of a list.
func (s *Store) Bytes(l *extents.List) []byte {
	s.t.Helper()
	return s.Read(l, 0, l.Size())
}

// File writes a list to a file with holes where it has zeros, and returns the file's path.
func (s *Store) File(name string, l *extents.List) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	r, at := s.Open(l), int64(0)
	for _, e := range l.Runs() {
		if e.Inline != nil || !e.Blob.IsZero() {
			if _, err := f.Seek(at, 0); err != nil {
				s.t.Fatal(err)
			}
			if _, err := r.WriteRange(f, at, e.Length); err != nil {
				s.t.Fatal(err)
			}
		}
		at += e.Length
	}
	if err := f.Truncate(at); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// Noise is n bytes that do not compress, the same for the same seed.
func Noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = random.Read(p) // never fails
	return p
}

// Need skips the test when a tool is missing, and says so.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if find(tool) == "" {
			t.Skipf("%s is missing, so nobody else judges the result: apt-get install dosfstools mtools gdisk fdisk qemu-utils syslinux syslinux-common qemu-system-x86", tool)
		}
	}
}

// find looks for a tool also where root's are.
func find(tool string) string {
	if path, err := exec.LookPath(tool); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, tool); exists(path) {
			return path
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Run runs a tool that must succeed and returns what it says, or skips the test when it is missing.
func Run(t testing.TB, tool string, args ...string) string {
	t.Helper()
	Need(t, tool)
	cmd := exec.Command(find(tool), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=0", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
	return string(out)
}
