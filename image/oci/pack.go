package oci

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/record"
)

// packLevel is the gzip level of packed layers. Changing it changes the digests of everything packed.
const packLevel = 6

// PackOptions say what to make an image of.
type PackOptions struct {
	Reference string // the image's name; ":latest" when it has no tag
	Platform  string // "linux/amd64"
	Dir       string // the root filesystem
	Config    imagespec.ImageConfig
	// Epoch, in seconds since 1970, is the latest modification time that stays as it is, and the time of creation.
	Epoch int64
	// KeepOwners keeps user and group ids; else all belong to root.
	KeepOwners bool
}

// Packed is what Pack made.
type Packed struct {
	Name     string // the full reference
	Target   imagespec.Descriptor
	Manifest imagespec.Descriptor // Target, or the one for the platform when Target is an index
}

// Pack makes an image with one layer out of a directory and names it. The same directory gives the same digests
// anywhere and at any time. Where the name has an image for other platforms already, both become one index.
func Pack(ctx context.Context, blobs cache.Blobs, store cache.Store, o PackOptions) (*Packed, error) {
	packed, err := pack(ctx, blobs, store, &o)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", o.Dir, err)
	}
	return packed, nil
}

func pack(ctx context.Context, blobs cache.Blobs, store cache.Store, o *PackOptions) (*Packed, error) {
	reference, err := checkName(o.Reference)
	if err != nil {
		return nil, err
	}
	platform, err := ParsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(o.Dir)
	if err != nil {
		return nil, errors.New("there is no such directory")
	}
	if !info.IsDir() {
		return nil, errors.New("it is not a directory")
	}
	layer, diffID, err := packLayer(ctx, blobs, o)
	if err != nil {
		return nil, err
	}
	created := time.Unix(o.Epoch, 0).UTC()
	config, err := putJSON(ctx, blobs, imagespec.MediaTypeImageConfig, imagespec.Image{
		Created: &created, Platform: platform, Config: o.Config,
		RootFS: imagespec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}},
	})
	if err != nil {
		return nil, err
	}
	document := imagespec.Manifest{MediaType: imagespec.MediaTypeImageManifest, Config: config, Layers: []imagespec.Descriptor{layer}}
	document.SchemaVersion = 2
	manifest, err := putJSON(ctx, blobs, document.MediaType, document)
	if err != nil {
		return nil, err
	}
	target, err := join(ctx, blobs, store, reference, manifest, platform)
	if err != nil {
		return nil, err
	}
	return &Packed{Name: reference, Target: target, Manifest: manifest}, putName(ctx, store, reference, target)
}

// packLayer stores the directory as a compressed tar. diffID is the digest of the tar itself.
func packLayer(ctx context.Context, blobs cache.Blobs, o *PackOptions) (layer imagespec.Descriptor, diffID digest.Digest, err error) {
	draft, err := blobs.Create(ctx)
	if err != nil {
		return layer, "", err
	}
	defer draft.Abort()
	z, err := gzip.NewWriterLevel(draft, packLevel)
	if err != nil {
		return layer, "", err
	}
	plain := sha256.New()
	if err := writeTree(ctx, io.MultiWriter(plain, z), o); err != nil {
		return layer, "", err
	}
	if err := z.Close(); err != nil {
		return layer, "", err
	}
	sum, size, err := draft.Commit()
	if err != nil {
		return layer, "", err
	}
	layer = imagespec.Descriptor{MediaType: imagespec.MediaTypeImageLayerGzip, Digest: digest.Digest(sum.String()), Size: size}
	return layer, digest.NewDigest(digest.SHA256, plain), nil
}

// join returns what reference is to name: the manifest alone, or an index of it and of the images for other
// platforms that have the name already.
func join(ctx context.Context, blobs cache.Blobs, store cache.Store, reference string, manifest imagespec.Descriptor, platform imagespec.Platform) (imagespec.Descriptor, error) {
	name, err := record.GetName(ctx, store, reference)
	if errors.Is(err, cache.ErrNotFound) {
		return manifest, nil
	}
	if err != nil {
		return manifest, err
	}
	r := &resolver{fetch: FetchFrom(blobs), budget: maxDocuments}
	present, err := r.present(ctx, targetOf(name))
	if err != nil {
		return manifest, fmt.Errorf("the image that is named %s now: %w", reference, err)
	}
	entries := []imagespec.Descriptor{}
	for _, c := range present {
		if PlatformString(normal(c.platform)) != PlatformString(platform) {
			d := c.descriptor
			d.Platform = &c.platform
			entries = append(entries, d)
		}
	}
	if len(entries) == 0 {
		return manifest, nil
	}
	manifest.Platform = &platform
	return putIndex(ctx, blobs, append(entries, manifest))
}

// present lists the images that target is or holds and that are still in the cache.
func (r *resolver) present(ctx context.Context, target imagespec.Descriptor) ([]candidate, error) {
	doc, err := r.document(ctx, target)
	if errors.Is(err, cache.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if doc.Index != nil {
		images, _, err := r.candidates(ctx, doc.Index, 0)
		return images, err
	}
	platform, err := r.configPlatform(ctx, doc.Manifest)
	return []candidate{{target, platform}}, err
}
