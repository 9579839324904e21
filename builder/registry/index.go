package registry

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	// Attestations as BuildKit attaches them to an index.
	attestationType   = "vnd.docker.reference.type"
	attestationOf     = "vnd.docker.reference.digest"
	attestation       = "attestation-manifest"
	predicateTypeKey  = "in-toto.io/predicate-type"
	predicateTypeSPDX = "https://spdx.dev/Document"
)

// fromIndex picks a platform's image out of an index.
func (r *Registry) fromIndex(ctx context.Context, doc *document, ref linuxkit.Reference, platform string) (*kilnv1.ResolvedImage, error) {
	var index v1.IndexManifest
	if err := json.Unmarshal(doc.raw, &index); err != nil {
		return nil, step.Failf("index of image %s: %w", ref.Name, err)
	}
	var chosen *v1.Descriptor
	var has []string
	for i, m := range index.Manifests {
		if !m.MediaType.IsImage() || m.Platform == nil || m.Annotations[attestationType] != "" {
			continue
		}
		p := m.Platform.OS + "/" + m.Platform.Architecture
		if !slices.Contains(has, p) {
			has = append(has, p)
		}
		if p == platform && chosen == nil {
			chosen = &index.Manifests[i]
		}
	}
	if chosen == nil {
		if len(has) == 0 {
			return nil, step.Failf("image %s names no platform in its index, so there is none for %s", ref.Name, platform)
		}
		return nil, step.Failf("image %s has no %s; it has %s", ref.Name, platform, strings.Join(has, ", "))
	}
	manifest, err := r.manifest(ctx, doc.src, chosen.Digest.String(), ref.Name)
	if err != nil {
		return nil, err
	}
	image, err := r.image(ctx, doc.src, manifest, ref.Name, platform)
	if err != nil {
		return nil, err
	}
	image.Index = doc.digest
	for _, m := range index.Manifests {
		switch {
		case m.Annotations[attestationType] == attestation && m.Annotations[attestationOf] == image.GetManifest():
			image.Sboms = append(image.Sboms, r.sboms(ctx, doc.src, m, ref.Name)...)
		case ref.AllPlatforms && m.MediaType.IsImage():
			if _, err := r.manifest(ctx, doc.src, m.Digest.String(), ref.Name); err != nil {
				return nil, err
			}
		}
	}
	return image, nil
}

// sboms are the SPDX documents of an attestation manifest. An image whose attestation cannot be read is an image without.
func (r *Registry) sboms(ctx context.Context, src *source, desc v1.Descriptor, reference string) []*kilnv1.Layer {
	doc, err := r.manifest(ctx, src, desc.Digest.String(), reference)
	if err != nil {
		r.cfg.Log.Warn("an image's attestation cannot be read", "reference", reference, "error", err)
		return nil
	}
	var m v1.Manifest
	if json.Unmarshal(doc.raw, &m) != nil {
		return nil
	}
	var out []*kilnv1.Layer
	for _, l := range m.Layers {
		if l.Annotations[predicateTypeKey] == predicateTypeSPDX {
			out = append(out, &kilnv1.Layer{Digest: l.Digest.String(), Size: l.Size, MediaType: string(l.MediaType)})
		}
	}
	return out
}

// image reads a platform's manifest, and its config, which must be for that platform.
func (r *Registry) image(ctx context.Context, src *source, doc *document, reference, platform string) (*kilnv1.ResolvedImage, error) {
	var m v1.Manifest
	if err := json.Unmarshal(doc.raw, &m); err != nil {
		return nil, step.Failf("manifest of image %s: %w", reference, err)
	}
	out := &kilnv1.ResolvedImage{Reference: reference, Platform: platform, Manifest: doc.digest, Config: m.Config.Digest.String()}
	for _, l := range m.Layers {
		if _, err := cache.ParseDigest(l.Digest.String()); err != nil {
			return nil, step.Failf("manifest of image %s: %w", reference, err)
		}
		if !l.MediaType.IsLayer() {
			return nil, step.Failf("image %s has a layer of type %s, which is no file system", reference, l.MediaType)
		}
		out.Layers = append(out.Layers, &kilnv1.Layer{Digest: l.Digest.String(), Size: l.Size, MediaType: string(l.MediaType)})
	}
	raw, err := r.config(ctx, src, m.Config, reference)
	if err != nil {
		return nil, err
	}
	var config v1.ConfigFile
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, step.Failf("config of image %s: %w", reference, err)
	}
	if is := config.OS + "/" + config.Architecture; config.Architecture != "" && is != platform {
		return nil, step.Failf("image %s has no %s; it has %s", reference, platform, is)
	}
	return out, nil
}

// config is an image's config blob, fetched when it is not in the cache.
func (r *Registry) config(ctx context.Context, src *source, desc v1.Descriptor, reference string) ([]byte, error) {
	if desc.Size > maxManifest {
		return nil, step.Failf("config of image %s has %d bytes, more than the %d allowed", reference, desc.Size, maxManifest)
	}
	digest := desc.Digest.String()
	if raw, err := r.blob(ctx, digest); err == nil {
		return raw, nil
	} else if src == nil {
		return nil, step.Failf("image %s: %w; import or make it again", reference, err)
	}
	want, err := cache.ParseDigest(digest)
	if err != nil {
		return nil, step.Failf("manifest of image %s: %w", reference, err)
	}
	if err := retry(ctx, func() error { return r.fetch(ctx, src, want, reference) }); err != nil {
		return nil, err
	}
	return r.blob(ctx, digest)
}
