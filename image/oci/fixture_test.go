package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
)

func openDir(t testing.TB) *disk.Store {
	t.Helper()
	d, err := disk.Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// content is a set of blobs that a registry or an archive holds.
type content map[digest.Digest][]byte

func (c content) add(mediaType string, data []byte) imagespec.Descriptor {
	d := digest.FromBytes(data)
	c[d] = data
	return imagespec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (c content) addJSON(t testing.TB, mediaType string, v any) imagespec.Descriptor {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return c.add(mediaType, data)
}

func (c content) fetch(_ context.Context, d imagespec.Descriptor) ([]byte, error) {
	data, ok := c[d.Digest]
	if !ok {
		return nil, cache.ErrNotFound
	}
	return data, nil
}

// image adds an image with one layer. Its platform in an index is platform.
func (c content) image(t testing.TB, platform, layer string) imagespec.Descriptor {
	t.Helper()
	p := imagespec.Platform{}
	if platform != "" {
		var err error
		if p, err = ParsePlatform(platform); err != nil {
			t.Fatal(err)
		}
	}
	config := imagespec.Image{Platform: p, RootFS: imagespec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromString(layer)}}}
	m := imagespec.Manifest{
		MediaType: imagespec.MediaTypeImageManifest,
		Config:    c.addJSON(t, imagespec.MediaTypeImageConfig, config),
		Layers:    []imagespec.Descriptor{c.add(imagespec.MediaTypeImageLayer, []byte(layer))},
	}
	m.SchemaVersion = 2
	d := c.addJSON(t, m.MediaType, m)
	d.Platform = &p
	return d
}

// attestation adds an SPDX document about image.
func (c content) attestation(t testing.TB, image imagespec.Descriptor, document string) imagespec.Descriptor {
	t.Helper()
	layer := c.add(inTotoLayer, []byte(document))
	layer.Annotations = map[string]string{annotationPredicate: predicateSPDX}
	other := c.add(inTotoLayer, []byte("provenance of "+document))
	other.Annotations = map[string]string{annotationPredicate: "https://slsa.dev/provenance/v1"}
	m := imagespec.Manifest{
		MediaType: imagespec.MediaTypeImageManifest,
		Config:    c.addJSON(t, imagespec.MediaTypeImageConfig, imagespec.Image{}),
		Layers:    []imagespec.Descriptor{other, layer},
	}
	m.SchemaVersion = 2
	d := c.addJSON(t, m.MediaType, m)
	d.Platform = &imagespec.Platform{OS: "unknown", Architecture: "unknown"}
	d.Annotations = map[string]string{annotationReferenceType: attestationManifest, annotationReferenceDigest: string(image.Digest)}
	return d
}

func (c content) index(t testing.TB, entries ...imagespec.Descriptor) imagespec.Descriptor {
	t.Helper()
	index := imagespec.Index{MediaType: imagespec.MediaTypeImageIndex, Manifests: entries}
	index.SchemaVersion = 2
	return c.addJSON(t, index.MediaType, index)
}

// file is an entry of an archive: a regular file, or a link when link is set.
type file struct {
	name, link string
	data       []byte
	typ        byte
}

func archiveOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Linkname: f.link, Size: int64(len(f.data)), Mode: 0o644, Typeflag: tar.TypeReg}
		if f.link != "" {
			h.Typeflag = tar.TypeSymlink
		}
		if f.typ != 0 {
			h.Typeflag = f.typ
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// layout is the files of an OCI layout with c's blobs.
func (c content) layout(t testing.TB, entries ...imagespec.Descriptor) []file {
	t.Helper()
	index := imagespec.Index{Manifests: append([]imagespec.Descriptor{}, entries...)}
	index.SchemaVersion = 2
	data, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	files := []file{{name: "oci-layout", data: []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {name: "index.json", data: data}}
	for d, data := range c {
		files = append(files, file{name: "blobs/sha256/" + d.Encoded(), data: data})
	}
	return files
}

func withName(d imagespec.Descriptor, annotation, name string) imagespec.Descriptor {
	d.Annotations = map[string]string{annotation: name}
	return d
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func readBlob(t testing.TB, blobs cache.Blobs, d string) []byte {
	t.Helper()
	want, err := cache.ParseDigest(d)
	if err != nil {
		t.Fatal(err)
	}
	f, err := blobs.Open(context.Background(), want)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
