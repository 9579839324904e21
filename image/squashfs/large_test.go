//go:build !race

package squashfs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
	"github.com/kiln-farm/kiln/image/tree"
)

func TestLargeTree(t *testing.T) {
	for _, c := range compressions {
		t.Run(string(c), func(t *testing.T) {
			s := fstreetest.New(t)
			file, root := image(t, s, c, fstree.Options{}, s.Part(fstreetest.Many(20000)...))
			check(t, s, file, root)
		})
	}
}

// TestHugeFiles has files beyond 4 GiB, whose blob is nearly all holes.
func TestHugeFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 5 GiB of zeros")
	}
	const size = 5<<30 + 12345
	s := fstreetest.New(t)
	blob := s.Sparse(size, map[int64]string{0: "start", 3 << 30: "middle", size - 3: "end"})
	huge := fstreetest.File("huge", "")
	huge.Body = tree.Body{Blob: blob, Size: size}
	file, root := image(t, s, Zstd, fstree.Options{}, s.Part(huge, fstreetest.Hard("again", "huge")))
	dir := fstreetest.Mount(t, "squashfs", file)
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
	if info, err := f.Stat(); err != nil || info.Size() != size || root.Child("huge").Body.Size != size {
		t.Errorf("%v, error %v; want %d bytes", info, err, int64(size))
	}
	if info, err := os.Stat(file); err != nil || info.Size() > 1<<20 {
		t.Errorf("the image has %d bytes, error %v; holes should take none", info.Size(), err)
	}
}

// counting is a body that compresses somewhat, of any size.
type counting struct{ n int }

func (r *counting) Read(p []byte) (int, error) {
	line := fmt.Sprintf("%d and %x\n", r.n, r.n*7919)
	r.n++
	return copy(p, line), nil
}

func TestMemoryDoesNotGrowWithBodies(t *testing.T) {
	const size, limit = 200 << 20, 32 << 20
	s := fstreetest.New(t)
	blob, _ := s.Put(io.LimitReader(&counting{}, size))
	big := fstreetest.File("big", "")
	big.Body = tree.Body{Blob: blob, Size: size}
	p := s.Part(big)
	for _, c := range compressions {
		t.Run(string(c), func(t *testing.T) {
			peak := watchHeap(func() { image(t, s, c, fstree.Options{}, p) })
			t.Logf("%d MiB of heap", peak>>20)
			if peak > limit {
				t.Errorf("%d MiB of heap, want at most %d", peak>>20, limit>>20)
			}
		})
	}
}

// watchHeap is the largest live heap seen while f runs.
func watchHeap(f func()) uint64 {
	stop, result := make(chan struct{}), make(chan uint64)
	go func() {
		var peak uint64
		var m runtime.MemStats
		for {
			select {
			case <-stop:
				result <- peak
				return
			case <-time.After(20 * time.Millisecond):
				runtime.GC()
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			}
		}
	}()
	f()
	close(stop)
	return <-result
}
