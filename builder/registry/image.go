package registry

import (
	"context"
	"errors"
	"strings"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/oci"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// images are what a document holds for the platforms; when all platforms are wanted, the others' manifests are brought
// in, too.
func (r *Registry) images(ctx context.Context, doc *document, ref linuxkit.Reference, platforms []string, at int64) ([]*kilnv1.ResolvedImage, error) {
	var out []*kilnv1.ResolvedImage
	for _, platform := range platforms {
		image, err := r.image(ctx, doc, ref.Name, platform)
		if err != nil {
			return nil, err
		}
		image.ResolvedUnixMs = at
		out = append(out, image)
	}
	if ref.AllPlatforms {
		return out, r.manifests(ctx, doc, ref.Name)
	}
	return out, nil
}

// image resolves a document for one platform; what it refers to is fetched when the cache lacks it.
func (r *Registry) image(ctx context.Context, doc *document, reference, platform string) (*kilnv1.ResolvedImage, error) {
	fetch := func(ctx context.Context, d imagespec.Descriptor) ([]byte, error) {
		if string(d.Digest) == doc.digest {
			return doc.raw, nil
		}
		raw, err := r.small(ctx, doc.src, d, reference)
		if err != nil {
			return nil, &fetchError{err}
		}
		return raw, nil
	}
	target := imagespec.Descriptor{MediaType: doc.mediaType, Digest: digest.Digest(doc.digest), Size: int64(len(doc.raw))}
	image, err := oci.Resolve(ctx, fetch, reference, target, platform)
	var fetching *fetchError
	var absent *oci.PlatformError
	switch {
	case errors.As(err, &fetching):
		return nil, fetching.error
	case errors.As(err, &absent) && len(absent.Have) > 0:
		return nil, step.Failf("image %s has no %s; it has %s", reference, platform, strings.Join(absent.Have, ", "))
	case err != nil:
		return nil, &step.Failure{Err: err}
	}
	return image, nil
}

// fetchError tells an error of ours from one of the document's.
type fetchError struct{ error }

func (f *fetchError) Unwrap() error { return f.error }

// small is a manifest or a config, from the cache or the registry.
func (r *Registry) small(ctx context.Context, src *source, d imagespec.Descriptor, reference string) ([]byte, error) {
	raw, err := r.blob(ctx, string(d.Digest))
	switch {
	case err == nil:
		return raw, nil
	case src == nil:
		return nil, step.Failf("image %s: %w; import or make it again", reference, err)
	case oci.IsDocument(d.MediaType):
		doc, err := r.manifest(ctx, src, string(d.Digest), reference)
		if err != nil {
			return nil, err
		}
		return doc.raw, nil
	}
	want, err := cache.ParseDigest(string(d.Digest))
	if err != nil {
		return nil, &step.Failure{Err: err}
	}
	if d.Size > maxManifest {
		return nil, step.Failf("config of image %s has %d bytes, more than the %d allowed", reference, d.Size, maxManifest)
	}
	if err := r.fetch(ctx, src, want, d.Size, reference); err != nil {
		return nil, err
	}
	return r.blob(ctx, string(d.Digest))
}

// manifests brings every manifest of an index into the cache.
func (r *Registry) manifests(ctx context.Context, doc *document, reference string) error {
	parsed, err := oci.ParseDocument(doc.raw, doc.mediaType)
	if err != nil {
		return step.Failf("image %s: %w", reference, err)
	}
	if parsed.Index == nil {
		return nil
	}
	for _, m := range parsed.Index.Manifests {
		if _, err := r.small(ctx, doc.src, m, reference); err != nil {
			return err
		}
	}
	return nil
}
