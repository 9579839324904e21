package results

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"golang.org/x/sync/errgroup"
)

// results finds what was made before: in the index, then in the cache. What it gives is a hit, with all blobs there.
type results struct {
	store cache.Store
	blobs cache.Blobs
	index *Index
	log   *slog.Logger
}

// lookup returns the results under those of keys that are hits. One that cannot be read is a miss.
func (r *results) lookup(ctx context.Context, keys []string) (map[string]*kilnv1.Result, error) {
	found, err := r.read(ctx, keys)
	if err != nil {
		return nil, err
	}
	return found, r.verify(ctx, found)
}

// read is lookup without the look at the blobs.
func (r *results) read(ctx context.Context, keys []string) (map[string]*kilnv1.Result, error) {
	found := make(map[string]*kilnv1.Result, len(keys))
	var rest []string
	for _, k := range keys {
		if hit, ok := r.index.get(k).(*kilnv1.Result); ok {
			found[k] = hit
		} else {
			rest = append(rest, k)
		}
	}
	stored := make([]*kilnv1.Result, len(rest))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookupWorkers)
	for i, k := range rest {
		group.Go(func() error {
			digest, err := cache.ParseDigest(k)
			if err != nil {
				return nil // no key of ours, so nothing is stored under it
			}
			result := &kilnv1.Result{}
			switch err := record.Get(ctx, r.store, cache.ResultKey(digest), result); {
			case err == nil && result.GetKey() == k:
				stored[i] = result
			case errors.Is(err, cache.ErrDamaged), err != nil && !errors.Is(err, cache.ErrNotFound):
				r.log.Warn("a result could not be read and counts as a miss", "step", k, "error", err)
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, k := range rest {
		if stored[i] != nil {
			found[k] = stored[i]
			r.index.Put(k, stored[i])
		}
	}
	return found, nil
}

// verify removes those of found that have a blob missing.
func (r *results) verify(ctx context.Context, found map[string]*kilnv1.Result) error {
	needed := map[string]bool{}
	for _, hit := range found {
		for _, o := range hit.GetOutputs() {
			needed[o.GetDigest()] = true
		}
		for _, d := range hit.GetReferences() {
			needed[d] = true
		}
	}
	gone, err := r.missing(ctx, needed)
	if err != nil || len(gone) == 0 {
		return err
	}
	for k, hit := range found {
		lost := false
		for _, o := range hit.GetOutputs() {
			lost = lost || gone[o.GetDigest()]
		}
		for _, d := range hit.GetReferences() {
			lost = lost || gone[d]
		}
		if lost {
			delete(found, k)
			r.index.remove(k)
		}
	}
	return nil
}

// missing returns those of the blobs that are not in the cache. What is no digest is missing.
func (r *results) missing(ctx context.Context, needed map[string]bool) (map[string]bool, error) {
	gone := map[string]bool{}
	digests := make([]cache.Digest, 0, len(needed))
	for text := range needed {
		if d, err := cache.ParseDigest(text); err == nil {
			digests = append(digests, d)
		} else {
			gone[text] = true
		}
	}
	absent, err := r.blobs.MissingBlobs(ctx, digests)
	if err != nil {
		return nil, fmt.Errorf("ask the cache for %d blobs: %w", len(digests), err)
	}
	for _, d := range absent {
		gone[d.String()] = true
	}
	return gone, nil
}

// final returns the record of all that a plan's key leads to, when every blob of it is there; else nil.
func (r *results) final(ctx context.Context, planKey string) (*kilnv1.Final, error) {
	key := finalKey(planKey)
	final, ok := r.index.get(key.String()).(*kilnv1.Final)
	if !ok {
		final = &kilnv1.Final{}
		err := record.Get(ctx, r.store, cache.ResultKey(key), final)
		if errors.Is(err, cache.ErrNotFound) || err == nil && final.GetPlanKey() != planKey {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		r.index.Put(key.String(), final)
	}
	needed := map[string]bool{}
	for _, d := range final.GetReferences() {
		needed[d] = true
	}
	gone, err := r.missing(ctx, needed)
	if err != nil {
		return nil, err
	}
	if len(gone) > 0 {
		r.index.remove(key.String())
		return nil, nil
	}
	return final, nil
}

// finalKey is where the final record of a plan is kept, among the results.
func finalKey(planKey string) cache.Digest {
	return cache.FromSum(sha256.Sum256([]byte("final\x00" + planKey)))
}

// readBlob reads a small blob whole.
func readBlob(ctx context.Context, blobs cache.Blobs, text string, limit int64) ([]byte, error) {
	digest, err := cache.ParseDigest(text)
	if err != nil {
		return nil, err
	}
	f, err := blobs.Open(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size > limit {
		return nil, fmt.Errorf("blob %s has %d bytes, at most %d are read", text, f.Size, limit)
	}
	data := make([]byte, f.Size)
	_, err = io.ReadFull(f.Section(0, f.Size), data)
	return data, err
}
