package oci

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// named is an image in the cache that is to get a name.
type named struct {
	reference  string // as checkName returns it
	descriptor imagespec.Descriptor
}

// putNames names images. Several of one name become one index, sorted by platform.
func putNames(ctx context.Context, blobs cache.Blobs, store cache.Store, images []named) ([]string, error) {
	byName := map[string][]imagespec.Descriptor{}
	for _, image := range images {
		byName[image.reference] = append(byName[image.reference], image.descriptor)
	}
	var names []string
	for name, descriptors := range byName {
		names = append(names, name)
		for i := range descriptors {
			if len(descriptors) > 1 && isIndex(descriptors[i].MediaType) {
				return nil, fmt.Errorf("two images are named %s: export them apart", name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		target := byName[name][0]
		if len(byName[name]) > 1 {
			var err error
			if target, err = putIndex(ctx, blobs, byName[name]); err != nil {
				return nil, fmt.Errorf("image %s: %w", name, err)
			}
		}
		if err := putName(ctx, store, name, target); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func putName(ctx context.Context, store cache.Store, reference string, target imagespec.Descriptor) error {
	return record.PutName(ctx, store, &kilnv1.Name{
		Reference: reference, Target: string(target.Digest), MediaType: target.MediaType, Size: target.Size,
	})
}

// putIndex stores an index of images, the last of each platform, sorted by platform. Entries that have no
// platform of their own get what the image's config says.
func putIndex(ctx context.Context, blobs cache.Blobs, entries []imagespec.Descriptor) (imagespec.Descriptor, error) {
	r := &resolver{fetch: FetchFrom(blobs), budget: maxDocuments}
	index := imagespec.Index{MediaType: imagespec.MediaTypeImageIndex}
	index.SchemaVersion = 2
	for _, d := range entries {
		entry := imagespec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform}
		if isAttestation(d) {
			entry.Annotations = d.Annotations
		}
		platform, err := r.platformOf(ctx, d)
		if err != nil {
			return imagespec.Descriptor{}, err
		}
		entry.Platform = &platform
		index.Manifests = slices.DeleteFunc(index.Manifests, func(old imagespec.Descriptor) bool {
			return !isAttestation(d) && !isAttestation(old) && PlatformString(normal(*old.Platform)) == PlatformString(normal(platform))
		})
		index.Manifests = append(index.Manifests, entry)
	}
	slices.SortFunc(index.Manifests, func(a, b imagespec.Descriptor) int {
		return cmp.Or(strings.Compare(PlatformString(*a.Platform), PlatformString(*b.Platform)), strings.Compare(string(a.Digest), string(b.Digest)))
	})
	return putJSON(ctx, blobs, index.MediaType, index)
}

// putJSON stores a document. Go writes a struct's fields in their order and a map's keys sorted, so that equal
// documents have equal bytes.
func putJSON(ctx context.Context, blobs cache.Blobs, mediaType string, document any) (imagespec.Descriptor, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return imagespec.Descriptor{}, fmt.Errorf("write a document of type %s: %w", mediaType, err)
	}
	draft, err := blobs.Create(ctx)
	if err != nil {
		return imagespec.Descriptor{}, err
	}
	defer draft.Abort()
	if _, err := draft.ReadFrom(bytes.NewReader(data)); err != nil {
		return imagespec.Descriptor{}, err
	}
	sum, size, err := draft.Commit()
	return imagespec.Descriptor{MediaType: mediaType, Digest: digest.Digest(sum.String()), Size: size}, err
}
