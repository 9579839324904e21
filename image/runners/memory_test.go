//go:build !race

package runners

import (
	"archive/tar"
	"encoding/binary"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/image/step"
)

// counting is a body of 8-byte numbers, 300 MiB without holding them.
type counting struct{ n uint64 }

func (r *counting) Read(p []byte) (int, error) {
	p = p[:len(p)/8*8]
	for i := 0; i < len(p); i += 8 {
		r.n++
		binary.LittleEndian.PutUint64(p[i:], r.n)
	}
	return len(p), nil
}

func TestMemoryDoesNotGrowWithBodies(t *testing.T) {
	const size, limit = 300 << 20, 32 << 20
	f := newFarm(t)
	draft, err := f.blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	w := tar.NewWriter(draft)
	w.WriteHeader(&tar.Header{Name: "big", Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: epoch})
	if _, err := io.CopyN(w, &counting{}, size); err != nil {
		t.Fatal(err)
	}
	w.Close()
	d, _, err := draft.Commit()
	if err != nil {
		t.Fatal(err)
	}
	peak := watchHeap(t, func() {
		tree := f.run(step.Flatten, step.FlattenParams{}, inputs("layer", d)...)
		f.run(step.Segment, step.SegmentParams{Root: image, Source: "s"}, one(tree))
		f.run(step.InitrdPart, step.InitrdPartParams{Root: image, Compress: "gzip"}, one(tree))
		f.run(step.InitrdPart, step.InitrdPartParams{Root: image, Compress: "zstd"}, one(tree))
	})
	if peak > limit {
		t.Errorf("%d MiB of heap, want at most %d", peak>>20, limit>>20)
	}
}

// watchHeap is the largest live heap seen while f runs.
func watchHeap(t *testing.T, f func()) uint64 {
	t.Helper()
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
