package content

import (
	"context"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/bottleneck"
)

// watchedBlobs notes for how long somebody waits for a blob: those that are here come at once, all others from the shared cache.
type watchedBlobs struct {
	cache.Blobs
	waits *waits
}

// Open implements cache.Blobs.
func (b watchedBlobs) Open(ctx context.Context, d cache.Digest) (*cache.File, error) {
	end := b.waits.Begin(b.waits.age())
	defer func() { end(b.waits.age()) }()
	return b.Blobs.Open(ctx, d)
}

// waits are for how long all waited for blobs, by a clock that never goes backwards.
type waits struct {
	bottleneck.Waits
	begun time.Time
}

func (w *waits) age() time.Duration { return time.Since(w.begun) }

// Waiting is for how long all have waited together for blobs so far, and how many wait now.
func (f *Files) Waiting() (total time.Duration, now int) { return f.waits.Total(f.waits.age()) }
