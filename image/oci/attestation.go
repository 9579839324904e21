package oci

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// BuildKit stores what it knows about an image as manifests beside it, in the same index (BuildKit,
// docs/attestations/attestation-storage.md).
const (
	annotationReferenceType   = "vnd.docker.reference.type"
	annotationReferenceDigest = "vnd.docker.reference.digest"
	annotationPredicate       = "in-toto.io/predicate-type"

	attestationManifest = "attestation-manifest"
	inTotoLayer         = "application/vnd.in-toto+json"
	predicateSPDX       = "https://spdx.dev/Document"
)

func isAttestation(d imagespec.Descriptor) bool {
	return d.Annotations[annotationReferenceType] == attestationManifest
}

// sboms returns the SPDX documents that attestations hold about the image with that digest. An attestation that
// is nowhere says nothing.
func (r *resolver) sboms(ctx context.Context, attestations []imagespec.Descriptor, image digest.Digest) ([]*kilnv1.Layer, error) {
	var documents []imagespec.Descriptor
	for _, d := range attestations {
		if d.Annotations[annotationReferenceDigest] != string(image) {
			continue
		}
		doc, err := r.document(ctx, d)
		if errors.Is(err, cache.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if doc.Manifest == nil {
			continue
		}
		for _, l := range doc.Manifest.Layers {
			if l.MediaType == inTotoLayer && l.Annotations[annotationPredicate] == predicateSPDX {
				documents = append(documents, l)
			}
		}
	}
	return layersOf(documents), nil
}
