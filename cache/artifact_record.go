package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// GetArtifact reads the description of the artifact whose own bytes have digest d.
func GetArtifact(ctx context.Context, s Store, d Digest) (*Artifact, error) {
	data, err := ReadRecord(ctx, s, ArtifactKey(d))
	if err != nil {
		return nil, err
	}
	a, err := DecodeArtifact(data)
	if err != nil || a.Digest != d {
		return nil, fmt.Errorf("%s is damaged: %w", ArtifactKey(d), ErrNotFound)
	}
	return a, nil
}

// PutArtifact records the description of an artifact under the digest of the artifact's own bytes.
func PutArtifact(ctx context.Context, s Store, a *Artifact) error {
	if a.Digest.IsZero() {
		return errors.New("record an artifact: it has no digest")
	}
	data, err := EncodeArtifact(a)
	if err != nil {
		return err
	}
	return s.Put(ctx, ArtifactKey(a.Digest), bytes.NewReader(data), int64(len(data)), Replace)
}
