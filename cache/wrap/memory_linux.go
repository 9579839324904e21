package wrap

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/kiln-farm/kiln/cache"
	"golang.org/x/sys/unix"
)

// inMemory reads a blob of the shared store into a file that is in memory alone: the way past a full disk for what is
// small. Larger ones, and those that cannot be had at once, are an error.
func (t *ReadThrough) inMemory(ctx context.Context, d cache.Digest) (*cache.File, error) {
	r, err := t.shared.Get(ctx, cache.BlobKey(d), 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	fd, err := unix.MemfdCreate("kiln-blob", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), d.String())
	sum := cache.VerifyReader(io.LimitReader(r, maxInMemory), d) // a longer one has another digest
	n, err := io.Copy(f, sum)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("fetch blob %s into memory: %w", d, err)
	}
	return &cache.File{File: f, Digest: d, Size: n}, nil
}
