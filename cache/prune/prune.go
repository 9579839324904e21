// Package prune says what a store holds and takes from it what was not used for longest, when there is more than
// somebody wants. Nothing is lost that cannot be made or fetched again.
//
// It never removes records of builds, meanings of references, or a blob of an image that has a name here; Evict, which is
// for a directory in front of a shared store, looks at blobs alone.
package prune

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
)

// Use is what a store holds under one prefix.
type Use struct {
	Prefix string
	Values int
	Bytes  int64
}

// Usage counts what s holds, by prefix, in the order in which the prefixes are declared.
func Usage(ctx context.Context, s cache.Store) ([]Use, error) {
	var uses []Use
	for _, prefix := range []string{cache.BlobPrefix, cache.ResultPrefix, cache.RefPrefix, cache.NamePrefix, cache.BuildPrefix, cache.ArtifactPrefix} {
		use := Use{Prefix: prefix}
		err := s.List(ctx, prefix, func(e cache.Entry) error {
			use.Values++
			use.Bytes += e.Size
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", prefix, err)
		}
		uses = append(uses, use)
	}
	return uses, nil
}

// Result is what Run did.
type Result struct {
	Values int   // removed
	Bytes  int64 // freed
	Left   int64 // bytes that remain
}

// Run removes what was not used for longest until s holds at most maxSize bytes. It takes blobs, results and
// artifacts' descriptions, all of which can be made again, and leaves every blob of an image that has a name
// here, since that may exist nowhere else. A build that misses something afterwards makes it again.
func Run(ctx context.Context, s cache.Store, maxSize int64) (Result, error) {
	keep, err := namedBlobs(ctx, s)
	if err != nil {
		return Result{}, err
	}
	var entries []cache.Entry
	err = s.List(ctx, "", func(e cache.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return Result{}, fmt.Errorf("prune: %w", err)
	}
	var done Result
	for _, e := range entries {
		done.Left += e.Size
	}
	for _, e := range plan(entries, keep, maxSize) {
		if err := s.Delete(ctx, e.Key); err != nil {
			return done, fmt.Errorf("prune: %w", err)
		}
		done.Values++
		done.Bytes += e.Size
		done.Left -= e.Size
	}
	return done, nil
}

// plan returns what must go: oldest use first, large before small among equals.
func plan(entries []cache.Entry, keep map[cache.Key]bool, maxSize int64) []cache.Entry {
	var total int64
	var candidates []cache.Entry
	for _, e := range entries {
		total += e.Size
		if expendable(e.Key) && !keep[e.Key] {
			candidates = append(candidates, e)
		}
	}
	slices.SortFunc(candidates, func(a, b cache.Entry) int {
		return cmp.Or(a.LastUse.Compare(b.LastUse), cmp.Compare(b.Size, a.Size), strings.Compare(a.Key.String(), b.Key.String()))
	})
	n := 0
	for n < len(candidates) && total > maxSize {
		total -= candidates[n].Size
		n++
	}
	return candidates[:n]
}

func expendable(k cache.Key) bool {
	for _, prefix := range []string{cache.BlobPrefix, cache.ResultPrefix, cache.ArtifactPrefix} {
		if strings.HasPrefix(k.String(), prefix) {
			return true
		}
	}
	return false
}

// maxManifest is the size, in bytes, beyond which a blob is no manifest (OCI distribution-spec, "Pushing Manifests").
const maxManifest = 4 << 20

// namedBlobs returns the keys of the blobs that images with names need: OCI image-spec's index.json refers to
// manifests, and a manifest to its config and layers.
func namedBlobs(ctx context.Context, s cache.Store) (map[cache.Key]bool, error) {
	names, err := record.ListNames(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	keep := map[cache.Key]bool{}
	var visit func(target string) error
	visit = func(target string) error {
		digest, err := cache.ParseDigest(target)
		if err != nil || keep[cache.BlobKey(digest)] {
			return nil // a damaged manifest keeps nothing
		}
		keep[cache.BlobKey(digest)] = true
		doc, err := readManifest(ctx, s, digest)
		if err != nil {
			return err
		}
		for _, d := range append(doc.Layers, doc.Config) {
			if leaf, err := cache.ParseDigest(d.Digest); err == nil {
				keep[cache.BlobKey(leaf)] = true
			}
		}
		for _, d := range doc.Manifests {
			if err := visit(d.Digest); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range names {
		if err := visit(name.GetTarget()); err != nil {
			return nil, fmt.Errorf("prune: image %s: %w", name.GetReference(), err)
		}
	}
	return keep, nil
}

type reference struct {
	Digest string `json:"digest"`
}

type manifestReferences struct {
	Manifests []reference `json:"manifests"`
	Layers    []reference `json:"layers"`
	Config    reference   `json:"config"`
}

// readManifest reads what an index or a manifest refers to: nothing when it is absent or is neither.
func readManifest(ctx context.Context, s cache.Store, digest cache.Digest) (doc manifestReferences, err error) {
	r, err := s.Get(ctx, cache.BlobKey(digest), 0, maxManifest+1)
	if errors.Is(err, cache.ErrNotFound) {
		return doc, nil
	}
	if err != nil {
		return doc, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return doc, err
	}
	if len(data) > maxManifest || json.Unmarshal(data, &doc) != nil {
		return manifestReferences{}, nil
	}
	return doc, nil
}
