package content

import (
	"context"
	"fmt"
	"io"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// maxDescription bounds the description of a file, in bytes.
const maxDescription = artifact.MaxEncoding

// Release is a release's file as an artifact.
func (f *Files) Release(ctx context.Context, ref *kilnv1.FileRef) (*artifact.Artifact, error) {
	key := ref.GetArtifact() + " " + ref.GetDigest()
	if a, ok := f.plans.Get(key); ok {
		return a, nil
	}
	a, err := readFile(ctx, f.blobs, ref)
	if err == nil && ref.GetArtifact() != "" {
		f.plans.Put(key, a, weigh(a))
	}
	return a, err
}

// readFile reads what a release's file is made of. Its description is a blob, which is here when its bytes are: no record of the
// shared cache is needed.
func readFile(ctx context.Context, blobs cache.Blobs, ref *kilnv1.FileRef) (*artifact.Artifact, error) {
	want, err := cache.ParseDigest(ref.GetDigest())
	if err != nil {
		return nil, err
	}
	if ref.GetArtifact() == "" {
		return &artifact.Artifact{Digest: want, Size: ref.GetSize(), Extents: []artifact.Extent{{Blob: want, Length: ref.GetSize()}}}, nil
	}
	description, err := cache.ParseDigest(ref.GetArtifact())
	if err != nil {
		return nil, err
	}
	f, err := blobs.Open(ctx, description)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size > maxDescription {
		return nil, fmt.Errorf("the description %s has %d bytes, more than %d", description, f.Size, maxDescription)
	}
	data := make([]byte, f.Size)
	if _, err := io.ReadFull(f.Section(0, f.Size), data); err != nil {
		return nil, err
	}
	a, err := artifact.Decode(data)
	if err != nil {
		return nil, err
	}
	if a.Digest != want {
		return nil, fmt.Errorf("the description %s is of %s, not of %s", description, a.Digest, want)
	}
	return a, nil
}

// OpenRelease opens a release's file.
func (f *Files) OpenRelease(ctx context.Context, ref *kilnv1.FileRef) (*artifact.Reader, error) {
	a, err := f.Release(ctx, ref)
	if err != nil {
		return nil, err
	}
	return artifact.Open(ctx, f.blobs, a)
}
