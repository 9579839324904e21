package oci

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Fetch returns the bytes of a small document: an index, a manifest or a config. It need not verify them.
// cache.ErrNotFound when they are nowhere.
type Fetch func(ctx context.Context, d imagespec.Descriptor) ([]byte, error)

// FetchFrom fetches out of blobs.
func FetchFrom(blobs cache.Blobs) Fetch {
	return func(ctx context.Context, d imagespec.Descriptor) ([]byte, error) {
		want, err := cache.ParseDigest(string(d.Digest))
		if err != nil {
			return nil, err
		}
		f, err := blobs.Open(ctx, want)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if f.Size > MaxDocument {
			return nil, fmt.Errorf("blob %s has %d bytes, too many for a manifest or config", want, f.Size)
		}
		return io.ReadAll(f)
	}
}

// Resolve finds out what makes the image that target describes on one platform. reference is for the answer and
// for messages. *PlatformError when there is no image for the platform.
func Resolve(ctx context.Context, fetch Fetch, reference string, target imagespec.Descriptor, platform string) (*kilnv1.ResolvedImage, error) {
	want, err := ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	r := &resolver{fetch: fetch, budget: maxDocuments}
	image, err := r.resolve(ctx, reference, target, want)
	if image != nil {
		image.Platform = platform // as it was asked for
	}
	var missing *PlatformError
	if err != nil && !errors.As(err, &missing) {
		return nil, fmt.Errorf("image %s: %w", reference, err)
	}
	return image, err
}

// ResolveName is Resolve for an image that was made or imported here: cache.ErrNotFound when none has that name.
func ResolveName(ctx context.Context, blobs cache.Blobs, store cache.Store, reference, platform string) (*kilnv1.ResolvedImage, error) {
	name, err := FindName(ctx, store, reference)
	if err != nil {
		return nil, err
	}
	return Resolve(ctx, FetchFrom(blobs), Expand(reference), targetOf(name), platform)
}

func targetOf(name *kilnv1.Name) imagespec.Descriptor {
	return imagespec.Descriptor{MediaType: name.GetMediaType(), Digest: digest.Digest(name.GetTarget()), Size: name.GetSize()}
}

const (
	// maxDocuments bounds what one resolution reads, whatever an index refers to.
	maxDocuments = 256
	// maxDepth bounds indexes within indexes.
	maxDepth = 4
)

// resolver reads documents within a budget.
type resolver struct {
	fetch  Fetch
	budget int
}

// candidate is a manifest of an index, with its platform found out.
type candidate struct {
	descriptor imagespec.Descriptor
	platform   imagespec.Platform
}

func (r *resolver) resolve(ctx context.Context, reference string, target imagespec.Descriptor, want imagespec.Platform) (*kilnv1.ResolvedImage, error) {
	doc, err := r.document(ctx, target)
	if err != nil {
		return nil, err
	}
	image := &kilnv1.ResolvedImage{Reference: reference}
	chosen := target
	var attestations []imagespec.Descriptor
	if doc.Index != nil {
		image.Index = string(target.Digest)
		candidates, attached, err := r.candidates(ctx, doc.Index, 0)
		if err != nil {
			return nil, err
		}
		attestations = attached
		best := pick(candidates, want)
		if best == nil {
			return nil, newPlatformError(reference, want, platformsOf(candidates))
		}
		chosen = best.descriptor
		if doc, err = r.document(ctx, chosen); err != nil {
			return nil, err
		}
		if doc.Manifest == nil {
			return nil, fmt.Errorf("%s is listed as an image and is an index", chosen.Digest)
		}
	}
	manifest := doc.Manifest
	if err := CheckLayers(manifest.Layers); err != nil {
		return nil, err
	}
	// An index may be wrong about its manifests; the config belongs to the image itself.
	have, err := r.configPlatform(ctx, manifest)
	if err != nil {
		return nil, err
	}
	if err := accept(reference, have, want, image.Index != ""); err != nil {
		return nil, err
	}
	image.Manifest = string(chosen.Digest)
	image.Config = string(manifest.Config.Digest)
	image.Layers = layersOf(manifest.Layers)
	image.Sboms, err = r.sboms(ctx, attestations, chosen.Digest)
	return image, err
}

// accept says why an image whose config names the platform have is not one for want. A config may leave out what
// an index says.
func accept(reference string, have, want imagespec.Platform, fromIndex bool) error {
	if have.OS == "" && have.Architecture == "" {
		if fromIndex {
			return nil
		}
		return errors.New("its config does not say for which platform it is: build it again with a current tool")
	}
	said := have
	if said.Variant == "" {
		said.Variant = want.Variant // the index knows it better, or nobody does
	}
	if !runs(said, want) {
		return newPlatformError(reference, want, []imagespec.Platform{have})
	}
	return nil
}

// candidates lists the images of an index and of the indexes in it, and apart from them the attestations.
func (r *resolver) candidates(ctx context.Context, index *imagespec.Index, depth int) (images []candidate, attestations []imagespec.Descriptor, err error) {
	if depth > maxDepth {
		return nil, nil, fmt.Errorf("indexes are nested more than %d deep", maxDepth)
	}
	for _, d := range index.Manifests {
		switch {
		case isAttestation(d):
			attestations = append(attestations, d)
		case isIndex(d.MediaType):
			doc, err := r.document(ctx, d)
			if errors.Is(err, cache.ErrNotFound) {
				continue // an archive may leave out what it was not asked for
			}
			if err != nil {
				return nil, nil, err
			}
			inner, attached, err := r.candidates(ctx, doc.Index, depth+1)
			if err != nil {
				return nil, nil, err
			}
			images, attestations = append(images, inner...), append(attestations, attached...)
		case isManifest(d.MediaType):
			platform, err := r.platformOf(ctx, d)
			if errors.Is(err, cache.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			if platform.OS != "unknown" {
				images = append(images, candidate{d, platform})
			}
		}
	}
	return images, attestations, nil
}

// platformOf is the platform of an index's entry: what the entry says, else what the image says of itself.
func (r *resolver) platformOf(ctx context.Context, d imagespec.Descriptor) (imagespec.Platform, error) {
	if d.Platform != nil {
		return *d.Platform, nil
	}
	doc, err := r.document(ctx, d)
	if err != nil {
		return imagespec.Platform{}, err
	}
	if doc.Manifest == nil {
		return imagespec.Platform{}, fmt.Errorf("%s is listed as an image and is an index", d.Digest)
	}
	return r.configPlatform(ctx, doc.Manifest)
}

func (r *resolver) configPlatform(ctx context.Context, m *imagespec.Manifest) (imagespec.Platform, error) {
	data, err := r.bytes(ctx, m.Config)
	if err != nil {
		return imagespec.Platform{}, err
	}
	config, err := ParseConfig(data)
	if err != nil {
		return imagespec.Platform{}, err
	}
	return imagespec.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}, nil
}

// pick chooses the entry for want: the one of the highest variant that runs there, the first of several.
func pick(candidates []candidate, want imagespec.Platform) *candidate {
	var best *candidate
	for i, c := range candidates {
		if runs(c.platform, want) && (best == nil || better(c.platform, best.platform, want)) {
			best = &candidates[i]
		}
	}
	return best
}

func platformsOf(candidates []candidate) []imagespec.Platform {
	var platforms []imagespec.Platform
	for _, c := range candidates {
		platforms = append(platforms, c.platform)
	}
	return platforms
}

func layersOf(descriptors []imagespec.Descriptor) []*kilnv1.Layer {
	var layers []*kilnv1.Layer
	for _, d := range descriptors {
		layers = append(layers, &kilnv1.Layer{Digest: string(d.Digest), Size: d.Size, MediaType: d.MediaType})
	}
	return layers
}

func (r *resolver) document(ctx context.Context, d imagespec.Descriptor) (*Document, error) {
	data, err := r.bytes(ctx, d)
	if err != nil {
		return nil, err
	}
	doc, err := ParseDocument(data, d.MediaType)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Digest, err)
	}
	return doc, nil
}

// bytes fetches a document and checks that it is the one that d describes.
func (r *resolver) bytes(ctx context.Context, d imagespec.Descriptor) ([]byte, error) {
	if r.budget--; r.budget < 0 {
		return nil, fmt.Errorf("it consists of more than %d manifests and configs", maxDocuments)
	}
	if d.Size > MaxDocument {
		return nil, fmt.Errorf("%s has %d bytes, too many for a manifest or config", d.Digest, d.Size)
	}
	data, err := r.fetch(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.Digest, err)
	}
	if got := cache.SumBytes(data).String(); got != string(d.Digest) {
		return nil, fmt.Errorf("%w: asked for %s, got %s", cache.ErrMismatch, d.Digest, got)
	}
	if d.Size > 0 && int64(len(data)) != d.Size {
		return nil, fmt.Errorf("%s has %d bytes and is described with %d", d.Digest, len(data), d.Size)
	}
	return data, nil
}
