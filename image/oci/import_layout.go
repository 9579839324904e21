package oci

import (
	"context"
	"errors"
	"fmt"
	"strings"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
)

// annotationImageName is where containerd, BuildKit and LinuxKit put an image's whole name.
const annotationImageName = "io.containerd.image.name"

// layoutImages reads index.json: its entries are images, or several platforms of one.
func (a *archive) layoutImages(data []byte) ([]found, error) {
	doc, err := ParseDocument(data, "")
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	if doc.Index == nil {
		return nil, errors.New("index.json is not an index")
	}
	var all []found
	for _, d := range doc.Index.Manifests {
		if isAttestation(d) || d.MediaType != "" && !IsDocument(d.MediaType) {
			continue
		}
		f := found{descriptor: d}
		// The other annotation is a tag alone according to the specification (annotations.md), and a whole name in what some
		// tools write. "1.2" or "latest" must not become a name: nothing would be called so.
		name, reference := d.Annotations[annotationImageName], d.Annotations[imagespec.AnnotationRefName]
		switch {
		case name != "":
			f.names = []string{name}
		case strings.ContainsAny(reference, "/:"):
			f.names = []string{reference}
		default:
			f.tag = reference
		}
		all = append(all, f)
	}
	return all, nil
}

// checkComplete makes sure that the cache has what an image consists of. Of an index, images may be left out, as
// tools do that export some platforms only, but never all.
func (a *archive) checkComplete(ctx context.Context, target imagespec.Descriptor) error {
	r := &resolver{fetch: a.fetch, budget: maxDocuments}
	whole, err := a.countComplete(ctx, r, target, 0)
	if errors.Is(err, cache.ErrNotFound) || err == nil && whole == 0 {
		return fmt.Errorf("the archive lacks its manifest %s: export the image again", target.Digest)
	}
	return err
}

// countComplete returns how many whole images target is or holds. ErrNotFound when target itself is absent.
func (a *archive) countComplete(ctx context.Context, r *resolver, target imagespec.Descriptor, depth int) (whole int, err error) {
	if depth > maxDepth {
		return 0, fmt.Errorf("indexes are nested more than %d deep", maxDepth)
	}
	doc, err := r.document(ctx, target)
	if err != nil {
		return 0, err
	}
	if doc.Manifest != nil {
		return 1, a.checkManifest(ctx, r, target, doc.Manifest)
	}
	for _, d := range doc.Index.Manifests {
		if !isIndex(d.MediaType) && !isManifest(d.MediaType) {
			continue
		}
		n, err := a.countComplete(ctx, r, d, depth+1)
		if errors.Is(err, cache.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if !isAttestation(d) {
			whole += n
		}
	}
	return whole, nil
}

func (a *archive) checkManifest(ctx context.Context, r *resolver, target imagespec.Descriptor, m *imagespec.Manifest) error {
	for _, part := range append([]imagespec.Descriptor{m.Config}, m.Layers...) {
		d, err := cache.ParseDigest(string(part.Digest))
		if err != nil {
			return err
		}
		size, err := a.size(ctx, d)
		if errors.Is(err, cache.ErrNotFound) {
			return fmt.Errorf("the archive lacks %s, a part of its manifest %s: export the image again", d, target.Digest)
		}
		if err != nil {
			return err
		}
		if size != part.Size {
			return fmt.Errorf("%s has %d bytes and its manifest says %d", d, size, part.Size)
		}
	}
	if isAttestation(target) {
		return nil
	}
	_, err := r.configPlatform(ctx, m)
	return err
}
