package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
)

// Get reads the description of the artifact whose own bytes have digest d.
func Get(ctx context.Context, s cache.Store, d cache.Digest) (*Artifact, error) {
	data, err := record.Read(ctx, s, cache.ArtifactKey(d))
	if err != nil {
		return nil, err
	}
	a, err := Decode(data)
	if err != nil || a.Digest != d {
		return nil, fmt.Errorf("%s is damaged: %w", cache.ArtifactKey(d), cache.ErrDamaged)
	}
	return a, nil
}

// Put records the description of an artifact under the digest of the artifact's own bytes.
func Put(ctx context.Context, s cache.Store, a *Artifact) error {
	if a.Digest.IsZero() {
		return errors.New("record an artifact: it has no digest")
	}
	data, err := Encode(a)
	if err != nil {
		return err
	}
	return s.Put(ctx, cache.ArtifactKey(a.Digest), bytes.NewReader(data), int64(len(data)), cache.Replace)
}
