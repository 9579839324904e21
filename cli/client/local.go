package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
)

// local: the farm's blobs are in a cache that this process reads itself.
type local struct{ blobs cache.Blobs }

// Upload implements Blobs: what the client has stored the farm has.
func (l local) Upload(context.Context, cache.Blobs, []cache.Digest) error { return nil }

// WriteArtifact implements Blobs. The cache vouches for its files, so that the kernel may copy them.
func (l local) WriteArtifact(ctx context.Context, description, _ cache.Digest, w io.Writer) error {
	f, err := l.blobs.Open(ctx, description)
	if err != nil {
		return err
	}
	defer f.Close()
	whole, err := decode(f, f.Size)
	if err != nil {
		return fmt.Errorf("artifact %s: %w", description, err)
	}
	r, err := artifact.Open(ctx, l.blobs, whole)
	if err != nil {
		return err
	}
	_, err = r.WriteTo(w)
	return errors.Join(err, r.Close())
}

// WriteBlob implements Blobs.
func (l local) WriteBlob(ctx context.Context, d cache.Digest, w io.Writer) error {
	f, err := l.blobs.Open(ctx, d)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, f.Section(0, f.Size))
	return errors.Join(err, f.Close())
}

// decode reads a description of that size.
func decode(r io.Reader, size int64) (*artifact.Artifact, error) {
	if size > artifact.MaxEncoding {
		return nil, fmt.Errorf("a description of %d bytes is too large", size)
	}
	b, err := io.ReadAll(io.LimitReader(r, artifact.MaxEncoding+1))
	if err != nil {
		return nil, err
	}
	return artifact.Decode(b)
}
