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

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/extents"
)

// Store is a cache directory for one test.
type Store struct {
	t   testing.TB
	Dir *disk.Store
}

// New opens an empty store.
func New(t testing.TB) *Store {
	t.Helper()
	dir, err := disk.Open(t.TempDir())
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
func (s *Store) Open(l *extents.List) *artifact.Reader {
	s.t.Helper()
	r, err := artifact.Open(context.Background(), s.Dir, l.Artifact())
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

// Disk is contents that formats of virtual disks are tried with.
type Disk struct {
	Name   string
	Data   int64 // bytes that are not known to be zeros
	Pieces int   // that Data is in
	Make   func(*Store) *extents.List
}

// Disks are disks with all that is easy to get wrong at the borders of clusters, blocks and grains.
func Disks() []Disk {
	const mib = 1 << 20
	return []Disk{
		{"nothing", 0, 0, func(s *Store) *extents.List { return &extents.List{} }},
		{"one byte", 1, 1, func(s *Store) *extents.List { return extents.Bytes([]byte{1}) }},
		{"zeros", 0, 0, func(s *Store) *extents.List { return zeros(5*mib + 512) }},
		{"data with no zeros", 3*mib + 777, 1, func(s *Store) *extents.List { return s.Blob(Noise(1, 3*mib+777)) }},
		{"data at the end", mib, 1, func(s *Store) *extents.List {
			l := zeros(530 * mib)
			l.Append(s.Blob(Noise(2, mib)))
			return l
		}},
		{"pieces that cross borders", 4*mib + 30_001, 5, func(s *Store) *extents.List {
			l := extents.Bytes([]byte("MBR"))
			for i, at := range []int64{64<<10 - 1, 2*mib - 5, 40 * mib, 512*mib - 1} {
				if err := l.To(at); err != nil {
					s.t.Fatal(err)
				}
				if i == 2 {
					l.Append(s.Blob(Noise(3, 4*mib)))
				} else {
					l.Append(s.Blob(Noise(uint64(i), 10_000)))
				}
			}
			l.Zeros(515*mib + 512 - l.Size())
			return l
		}},
		{"many runs in a cluster", 90_000, 300, func(s *Store) *extents.List {
			l, blob := &extents.List{}, s.Blob(Noise(5, 300))
			for i := range 300 {
				l.Append(blob.Slice(int64(i), int64(300-i)))
				l.Bytes([]byte{byte(i), 0, 1})
				l.Zeros(int64(i * 37))
			}
			return l
		}},
	}
}

func zeros(n int64) *extents.List {
	l := &extents.List{}
	l.Zeros(n)
	return l
}
