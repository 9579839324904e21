package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
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
// calls it; empty when nobody said. A document that says what it is, or shows it by its fields, is believed: of what
// it is called counts only whether that is an index or an image.
func ParseDocument(data []byte, mediaType string) (*Document, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("the manifest has %d bytes; at most %d are allowed", len(data), MaxDocument)
	}
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("the manifest is not valid JSON: %w", err)
	}
	called, said := canonical(mediaType), canonical(w.MediaType)
	switch {
	case w.FSLayers != nil || w.SchemaVersion == 1 || strings.HasPrefix(called, dockerSchema1):
		return nil, errors.New("the manifest is of Docker's old schema 1: push the image again with a current tool")
	case w.SchemaVersion != 2:
		return nil, fmt.Errorf("the manifest has schema version %d; only 2 is supported", w.SchemaVersion)
	case w.Manifests != nil && (w.Layers != nil || w.Config != nil):
		return nil, errors.New("the manifest claims to be an index and an image at once")
	case isIndex(said) && isManifest(called) || isManifest(said) && isIndex(called):
		return nil, fmt.Errorf("the manifest says that it is %.100q and is listed as %.100q", w.MediaType, mediaType)
	}
	if said == "" && (isIndex(called) || isManifest(called)) {
		said = called
	}
	switch {
	case w.Manifests != nil && (said == "" || isIndex(said)):
		return indexDocument(&w, said)
	case w.Config != nil && w.Layers != nil && (said == "" || isManifest(said)):
		return manifestDocument(&w, said)
	}
	return nil, fmt.Errorf("the manifest (media type %.100q) is neither an index nor an image", said)
}

// canonical is a media type in lower case and without parameters, neither of which tell types apart (RFC 9110 §8.3.1).
func canonical(mediaType string) string {
	if plain, _, err := mime.ParseMediaType(mediaType); err == nil {
		return plain
	}
	plain, _, _ := strings.Cut(mediaType, ";")
	return strings.ToLower(strings.TrimSpace(plain))
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

// CheckLayers says which layer is not a part of a filesystem, or is compressed in a way that Kiln does not read.
func CheckLayers(layers []imagespec.Descriptor) error {
	for i, l := range layers {
		mediaType := canonical(l.MediaType)
		tar := strings.LastIndex(mediaType, "tar")
		switch {
		case strings.Contains(mediaType, "nondistributable"), strings.Contains(mediaType, ".foreign."):
			return fmt.Errorf("layer %d is not distributed with the image (%.100q)", i, l.MediaType)
		case tar < 0 || strings.Contains(mediaType, "encrypted"):
			return fmt.Errorf("layer %d is no filesystem layer that Kiln knows (%.100q)", i, l.MediaType)
		}
		if !readable(mediaType[tar+len("tar"):]) {
			return fmt.Errorf("layer %d is compressed as %.100q, and Kiln reads gzip and zstd: make the image again with one of them", i, l.MediaType)
		}
	}
	return nil
}

// readable says whether Kiln reads what follows "tar" in a layer's media type: "", "+gzip", Docker's ".gzip".
func readable(suffix string) bool {
	first, _, _ := strings.Cut(strings.TrimLeft(suffix, "+."), "+")
	switch first {
	case "", "gzip", "gz", "zstd", "zst":
		return true
	}
	return false
}

// IsDocument says that mediaType is that of an index or a manifest, rather than of a config or a layer.
func IsDocument(mediaType string) bool { return isIndex(mediaType) || isManifest(mediaType) }

func isIndex(mediaType string) bool {
	switch canonical(mediaType) {
	case imagespec.MediaTypeImageIndex, DockerList:
		return true
	}
	return false
}

func isManifest(mediaType string) bool {
	switch canonical(mediaType) {
	case imagespec.MediaTypeImageManifest, DockerManifest:
		return true
	}
	return false
}
