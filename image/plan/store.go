package plan

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// Store is what the planner needs of a cache: small blobs by digest, and a place for the trees of generated files.
type Store interface {
	// Load returns a small blob: an image config, a manifest.
	Load(ctx context.Context, d cache.Digest) ([]byte, error)
	// Blob stores b.
	Blob(ctx context.Context, b []byte) (cache.Digest, error)
	// Tree stores the index of a tree with these entries.
	Tree(ctx context.Context, entries []tree.Entry) (cache.Digest, error)
}

// maxMetadata bounds image configs and manifests, in bytes. Registries accept manifests of 4 MiB.
const maxMetadata = 4 << 20

// blobStore is a Store over Blobs that remembers what it stored.
type blobStore struct {
	blobs cache.Blobs
	refs  []cache.Digest
	seen  map[cache.Digest]bool
}

func (s *blobStore) Load(ctx context.Context, d cache.Digest) ([]byte, error) {
	return load(ctx, s.blobs, d, maxMetadata)
}

func (s *blobStore) Blob(ctx context.Context, b []byte) (cache.Digest, error) {
	return s.put(ctx, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

func (s *blobStore) Tree(ctx context.Context, entries []tree.Entry) (cache.Digest, error) {
	return s.put(ctx, func(w io.Writer) error {
		t := tree.NewWriter(w)
		for i := range entries {
			if err := t.Append(&entries[i]); err != nil {
				return err
			}
		}
		return t.Close()
	})
}

func (s *blobStore) put(ctx context.Context, write func(io.Writer) error) (cache.Digest, error) {
	draft, err := s.blobs.Create(ctx)
	if err != nil {
		return cache.Digest{}, fmt.Errorf("store a generated tree: %w", err)
	}
	defer draft.Abort()
	if err := write(draft); err != nil {
		return cache.Digest{}, fmt.Errorf("store a generated tree: %w", err)
	}
	d, _, err := draft.Commit()
	if err != nil {
		return cache.Digest{}, fmt.Errorf("store a generated tree: %w", err)
	}
	if !s.seen[d] {
		s.seen[d] = true
		s.refs = append(s.refs, d)
	}
	return d, nil
}

func load(ctx context.Context, blobs cache.Blobs, d cache.Digest, limit int64) ([]byte, error) {
	f, err := blobs.Open(ctx, d)
	if errors.Is(err, cache.ErrNotFound) {
		return nil, &step.MissingBlob{Digest: d}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size > limit {
		return nil, step.Failf("blob %s has %d bytes, more than the %d that are allowed here", d, f.Size, limit)
	}
	b := make([]byte, f.Size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	return b, nil
}
