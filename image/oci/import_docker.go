package oci

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/compress"
)

// dockerEntry is an image in the manifest.json of "docker save" (moby, image/spec/v1.2.md).
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerImages reads manifest.json and makes a manifest for each image in it, which such archives lack.
func (a *archive) dockerImages(ctx context.Context, data []byte) ([]found, error) {
	var entries []dockerEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("manifest.json is not what docker save writes: %w", err)
	}
	if len(entries) > maxChildren {
		return nil, fmt.Errorf("manifest.json lists %d images; at most %d are allowed", len(entries), maxChildren)
	}
	isNamed := func(e dockerEntry) bool { return len(e.RepoTags) > 0 }
	anyNamed := slices.ContainsFunc(entries, isNamed)
	var all []found
	for i, entry := range entries {
		if anyNamed && !isNamed(entry) {
			continue // an image that another one is made of
		}
		target, err := a.dockerManifest(ctx, &entry)
		if err != nil {
			return nil, fmt.Errorf("image %.200s (number %d in manifest.json): %w", cmp.Or(strings.Join(entry.RepoTags, ", "), "without a name"), i+1, err)
		}
		all = append(all, found{descriptor: target, names: entry.RepoTags})
	}
	return all, nil
}

func (a *archive) dockerManifest(ctx context.Context, entry *dockerEntry) (none imagespec.Descriptor, err error) {
	configBlob, err := a.file(ctx, entry.Config)
	if err != nil {
		return none, err
	}
	if promised := strings.TrimSuffix(path.Base(entry.Config), ".json"); len(promised) == 64 && promised != configBlob.Hex() {
		return none, fmt.Errorf("%w: its config %.200s has digest %s", cache.ErrMismatch, entry.Config, configBlob)
	}
	config := imagespec.Descriptor{MediaType: imagespec.MediaTypeImageConfig, Digest: digest.Digest(configBlob.String())}
	if config.Size, err = a.size(ctx, configBlob); err != nil {
		return none, err
	}
	raw, err := FetchFrom(a.blobs)(ctx, config)
	if err != nil {
		return none, err
	}
	parsed, err := ParseConfig(raw)
	if err != nil {
		return none, err
	}
	if len(parsed.RootFS.DiffIDs) != len(entry.Layers) || len(entry.Layers) > maxChildren {
		return none, fmt.Errorf("its config lists %d layers and manifest.json %d", len(parsed.RootFS.DiffIDs), len(entry.Layers))
	}
	manifest := imagespec.Manifest{MediaType: imagespec.MediaTypeImageManifest, Config: config, Layers: []imagespec.Descriptor{}}
	manifest.SchemaVersion = 2
	for i, name := range entry.Layers {
		layer, err := a.dockerLayer(ctx, name, parsed.RootFS.DiffIDs[i])
		if err != nil {
			return none, fmt.Errorf("layer %.200s: %w", name, err)
		}
		manifest.Layers = append(manifest.Layers, layer)
	}
	target, err := putJSON(ctx, a.blobs, manifest.MediaType, manifest)
	target.Platform = &imagespec.Platform{OS: parsed.OS, Architecture: parsed.Architecture, Variant: parsed.Variant}
	return target, err
}

// dockerLayer describes a layer, whose unpacked bytes must be those that the config promises.
func (a *archive) dockerLayer(ctx context.Context, name string, promised digest.Digest) (none imagespec.Descriptor, err error) {
	want, err := cache.ParseDigest(string(promised))
	if err != nil {
		return none, err
	}
	blob, err := a.file(ctx, name)
	if err != nil {
		return none, err
	}
	f, err := a.blobs.Open(ctx, blob)
	if err != nil {
		return none, err
	}
	defer f.Close()
	layer := imagespec.Descriptor{MediaType: imagespec.MediaTypeImageLayer, Digest: digest.Digest(blob.String()), Size: f.Size}
	if blob == want {
		return layer, nil
	}
	plain, compression, err := compress.NewReader(f.Section(0, f.Size))
	if err != nil {
		return none, err
	}
	defer plain.Close()
	if compression != "" {
		layer.MediaType += "+" + compression
	}
	h := sha256.New()
	if _, err := io.Copy(h, plain); err != nil {
		return none, err
	}
	if got := cache.FromSum([sha256.Size]byte(h.Sum(nil))); got != want {
		return none, fmt.Errorf("%w: the image's config promises %s, the archive holds %s", cache.ErrMismatch, want, got)
	}
	return layer, nil
}
