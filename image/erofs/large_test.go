//go:build !race

package erofs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
	"github.com/kiln-farm/kiln/image/tree"
)

func TestLargeTree(t *testing.T) {
	s := fstreetest.New(t)
	list, root := assembled(t, s, s.Part(fstreetest.Many(20000)...))
	check(t, s, s.Image(list), root)
}

// TestHugeFiles has a file beyond 4 GiB, whose blob is nearly all holes.
func TestHugeFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 5 GiB of zeros")
	}
	const size = 5<<30 + 12345
	s := fstreetest.New(t)
	blob := s.Sparse(size, map[int64]string{0: "start", 3 << 30: "middle", size - 3: "end"})
	huge := fstreetest.File("huge", "")
	huge.Body = tree.Body{Blob: blob, Size: size}
	list, _ := assembled(t, s, s.Part(huge, fstreetest.Hard("again", "huge")))
	dir := fstreetest.Mount(t, "erofs", s.Image(list))
	f, err := os.Open(filepath.Join(dir, "again"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off, want := range map[int64]string{0: "start\x00", 3<<30 - 1: "\x00middle\x00", 4 << 30: "\x00\x00", size - 4: "\x00end"} {
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, off); err != nil || string(got) != want {
			t.Errorf("at %d: %q, error %v; want %q", off, got, err, want)
		}
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		t.Errorf("%v, error %v; want %d bytes", info, err, int64(size))
	}
}

func BenchmarkAssemble(b *testing.B) {
	s := fstreetest.New(b)
	root := s.Build(fstree.Options{}, s.Part(fstreetest.Many(20000)...))
	for b.Loop() {
		list, err := Assemble(b.Context(), s.Blobs, root, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(list.Runs())), "extents")
	}
}
