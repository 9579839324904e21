//go:build !race

package uki

import (
	"io"
	"runtime"
	"testing"

	"github.com/kiln-farm/kiln/image/extents"
)

// counting is a reader of n bytes that nobody holds, and of the heap while it is read.
type counting struct {
	head *extents.List
	n    int64
	peak uint64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	if off >= c.n {
		return 0, io.EOF
	}
	clear(p)
	if inline := c.head.Runs()[0].Inline; off < int64(len(inline)) {
		copy(p, inline[off:])
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.peak = max(c.peak, m.HeapAlloc)
	return int(min(int64(len(p)), c.n-off)), nil
}

func TestMemoryDoesNotGrowWithTheImage(t *testing.T) {
	const limit = 32 << 20
	l, err := Build(makePE(AMD64, 8), Sections{Linux: zeros(300 << 20), Initrd: zeros(300 << 20)})
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{head: l, n: l.Size()}
	if _, err := AuthenticodeDigest(t.Context(), l, c); err != nil {
		t.Fatal(err)
	}
	if c.peak > limit {
		t.Errorf("%d MiB of heap, want at most %d", c.peak>>20, limit>>20)
	}
}
