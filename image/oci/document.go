package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
)

// Media types of Docker's image format, schema 2.
const (
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerConfig   = "application/vnd.docker.container.image.v1+json"
	DockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"

	dockerSchema1 = "application/vnd.docker.distribution.manifest.v1+"
)

const (
	// MaxDocument is the size, in bytes, beyond which an index, manifest or config is refused (OCI
	// distribution-spec, "Pushing Manifests": registries should take 4 MiB).
	MaxDocument = 4 << 20
	// maxChildren bounds the manifests of an index and the layers of a manifest.
	maxChildren = 4096
)

// Document is an index or a manifest: one of the two is set.
type Document struct {
	MediaType string
	Index     *imagespec.Index
	Manifest  *imagespec.Manifest
}

// wire has the fields of both kinds, so that a document that tries to be both is found out: tools that read
// it by different fields would see different images (CVE-2021-41190).
type wire struct {
	SchemaVersion int                     `json:"schemaVersion"`
	MediaType     string                  `json:"mediaType"`
	Manifests     *[]imagespec.Descriptor `json:"manifests"`
	Config        *imagespec.Descriptor   `json:"config"`
	Layers        *[]imagespec.Descriptor `json:"layers"`
	FSLayers      json.RawMessage         `json:"fsLayers"`
	Annotations   map[string]string       `json:"annotations"`
}

// ParseDocument reads an index or a manifest and checks every descriptor in it. mediaType is what the descriptor
// or the registry called it; empty when nobody said.
func ParseDocument(data []byte, mediaType string) (*Document, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("the manifest has %d bytes; at most %d are allowed", len(data), MaxDocument)
	}
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("the manifest is not valid JSON: %w", err)
	}
	switch {
	case w.FSLayers != nil || w.SchemaVersion == 1 || strings.HasPrefix(mediaType, dockerSchema1):
		return nil, errors.New("the manifest is of Docker's old schema 1: push the image again with a current tool")
	case w.SchemaVersion != 2:
		return nil, fmt.Errorf("the manifest has schema version %d; only 2 is supported", w.SchemaVersion)
	case w.Manifests != nil && (w.Layers != nil || w.Config != nil):
		return nil, errors.New("the manifest claims to be an index and an image at once")
	case w.MediaType != "" && mediaType != "" && w.MediaType != mediaType:
		return nil, fmt.Errorf("the manifest says that it is %.100q and is served as %.100q", w.MediaType, mediaType)
	}
	if mediaType == "" {
		mediaType = w.MediaType
	}
	switch {
	case w.Manifests != nil && (mediaType == "" || isIndex(mediaType)):
		return indexDocument(&w, mediaType)
	case w.Config != nil && w.Layers != nil && (mediaType == "" || isManifest(mediaType)):
		return manifestDocument(&w, mediaType)
	}
	return nil, fmt.Errorf("the manifest (media type %.100q) is neither an index nor an image", mediaType)
}

func indexDocument(w *wire, mediaType string) (*Document, error) {
	if mediaType == "" {
		mediaType = imagespec.MediaTypeImageIndex
	}
	if err := checkAll("manifest", *w.Manifests); err != nil {
		return nil, err
	}
	index := &imagespec.Index{MediaType: mediaType, Manifests: *w.Manifests, Annotations: w.Annotations}
	index.SchemaVersion = 2
	return &Document{MediaType: mediaType, Index: index}, nil
}

func manifestDocument(w *wire, mediaType string) (*Document, error) {
	if mediaType == "" {
		mediaType = imagespec.MediaTypeImageManifest
	}
	if err := checkDescriptor(*w.Config); err != nil {
		return nil, fmt.Errorf("config of the manifest: %w", err)
	}
	if err := checkAll("layer", *w.Layers); err != nil {
		return nil, err
	}
	m := &imagespec.Manifest{MediaType: mediaType, Config: *w.Config, Layers: *w.Layers, Annotations: w.Annotations}
	m.SchemaVersion = 2
	return &Document{MediaType: mediaType, Manifest: m}, nil
}

func checkAll(what string, descriptors []imagespec.Descriptor) error {
	if len(descriptors) > maxChildren {
		return fmt.Errorf("the manifest lists %d %ss; at most %d are allowed", len(descriptors), what, maxChildren)
	}
	for i, d := range descriptors {
		if err := checkDescriptor(d); err != nil {
			return fmt.Errorf("%s %d of the manifest: %w", what, i, err)
		}
	}
	return nil
}

func checkDescriptor(d imagespec.Descriptor) error {
	if _, err := cache.ParseDigest(string(d.Digest)); err != nil {
		return err
	}
	if d.Size < 0 {
		return fmt.Errorf("negative size %d", d.Size)
	}
	return nil
}

// ParseConfig reads an image's config.
func ParseConfig(data []byte) (*imagespec.Image, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("the image config has %d bytes; at most %d are allowed", len(data), MaxDocument)
	}
	config := &imagespec.Image{}
	if err := json.Unmarshal(data, config); err != nil {
		return nil, fmt.Errorf("the image config is not valid JSON: %w", err)
	}
	return config, nil
}

// CheckLayers says which layer is not a part of a filesystem.
func CheckLayers(layers []imagespec.Descriptor) error {
	for i, l := range layers {
		switch {
		case strings.Contains(l.MediaType, "nondistributable"), strings.Contains(l.MediaType, ".foreign."):
			return fmt.Errorf("layer %d is not distributed with the image (%.100q)", i, l.MediaType)
		case !strings.Contains(l.MediaType, "tar") || strings.Contains(l.MediaType, "encrypted"):
			return fmt.Errorf("layer %d is no filesystem layer that Kiln knows (%.100q)", i, l.MediaType)
		}
	}
	return nil
}

func isIndex(mediaType string) bool {
	return mediaType == imagespec.MediaTypeImageIndex || mediaType == DockerList
}

func isManifest(mediaType string) bool {
	return mediaType == imagespec.MediaTypeImageManifest || mediaType == DockerManifest
}
