package prune

import (
	"context"
	"fmt"
	"time"

	"github.com/kiln-farm/kiln/cache"
)

const (
	evictTo  = 90               // percent of the limit that eviction leaves
	evictAge = 10 * time.Minute // since its last use, then a blob may go
)

// Evict removes the blobs of a directory that were not used for longest when there is more than the limit. What was used just
// now stays: it may be on its way into the shared store.
func Evict(ctx context.Context, local cache.Store, limit int64, now time.Time) error {
	var entries []cache.Entry
	var total int64
	err := local.List(ctx, cache.BlobPrefix, func(e cache.Entry) error {
		total += e.Size
		if now.Sub(e.LastUse) > evictAge {
			entries = append(entries, e)
		}
		return nil
	})
	if err != nil || total <= limit {
		return err
	}
	var old int64
	for _, e := range entries {
		old += e.Size
	}
	// plan goes by the sum of what it is given.
	for _, e := range plan(entries, nil, max(limit*evictTo/100-(total-old), 0)) {
		if err := local.Delete(ctx, e.Key); err != nil {
			return fmt.Errorf("evict: %w", err)
		}
	}
	return nil
}
