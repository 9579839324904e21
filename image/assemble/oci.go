package assemble

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/gzipped"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
	"github.com/kiln-farm/kiln/image/tree"
)

const (
	// bootArtifact is the type of an image whose one layer holds kernel, initrd.img and cmdline.
	bootArtifact = "application/vnd.kiln.boot.v1"
	sbomArtifact = "application/spdx+json"
)

// ociLayout writes an OCI image layout (OCI image-spec, image-layout.md) in a tar: an image with the boot files as its one
// layer, and the SBOM as an artifact that refers to it.
func (b *assembly) ociLayout(params *step.ArtifactParams) {
	platform := params.Text
	plain := b.described("layer")
	layer := b.zipped(plain)
	if b.err != nil {
		return
	}
	os, arch, _ := strings.Cut(platform, "/")
	arch, variant, _ := strings.Cut(arch, "/")
	runsOn := imagespec.Platform{OS: os, Architecture: arch, Variant: variant}
	layerDesc := imagespec.Descriptor{MediaType: imagespec.MediaTypeImageLayerGzip, Digest: digestOf(layer.Digest), Size: layer.Size}
	created := part.DefaultTime
	config := b.json(imagespec.Image{
		Created: &created, Platform: runsOn,
		RootFS:  imagespec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digestOf(plain.Digest)}},
		History: []imagespec.History{{Created: &created, CreatedBy: "kiln build"}},
	}, imagespec.MediaTypeImageConfig)
	manifest := b.json(imagespec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imagespec.MediaTypeImageManifest, ArtifactType: bootArtifact,
		Config: config.desc, Layers: []imagespec.Descriptor{layerDesc},
	}, imagespec.MediaTypeImageManifest)
	manifest.desc.Platform = &runsOn
	manifest.desc.ArtifactType = bootArtifact
	manifest.desc.Annotations = map[string]string{imagespec.AnnotationRefName: "latest"} // beside the SBOM, it needs a name
	index := imagespec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imagespec.MediaTypeImageIndex, Manifests: []imagespec.Descriptor{manifest.desc}}
	files := []ociBlob{config, {desc: layerDesc, content: extents.Of(layer)}, manifest}
	if sbom := b.sbom(manifest.desc); len(sbom) > 0 {
		last := sbom[len(sbom)-1]
		last.desc.ArtifactType = sbomArtifact
		index.Manifests = append(index.Manifests, last.desc)
		files = append(files, sbom...)
	}
	top, err := json.Marshal(index)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.tarFile("oci-layout", extents.Bytes([]byte(`{"imageLayoutVersion":"`+imagespec.ImageLayoutVersion+`"}`)))
	b.tarFile("index.json", extents.Bytes(top))
	for _, f := range files {
		b.tarFile("blobs/sha256/"+f.desc.Digest.Encoded(), f.content)
	}
	b.add(artifact.Extent{Length: tarEnd})
}

// zipped is a file as gzip, whose contents stay where they are: there are programs that take no other layers.
func (b *assembly) zipped(a *artifact.Artifact) *artifact.Artifact {
	if b.err != nil {
		return nil
	}
	list, err := read(b.ctx, b.req, extents.Of(a), gzipped.Wrap)
	if err != nil {
		b.err = err
		return nil
	}
	out := list.Artifact()
	if err := stepio.Sum(b.ctx, b.req.Blobs, out); err != nil {
		b.err = stepio.Missing(err, out, b.req)
	}
	return out
}

// ociBlob is a blob of a layout.
type ociBlob struct {
	desc    imagespec.Descriptor
	content *extents.List
}

// sbom is the referrer with the image's SBOM, its manifest last (OCI image-spec, "Guidelines for Artifact Usage"); nothing
// when there is none.
func (b *assembly) sbom(subject imagespec.Descriptor) []ociBlob {
	index := b.req.Input("sbom")
	if index.IsZero() || b.err != nil {
		return nil
	}
	var body tree.Body
	if err := part.Each(b.ctx, b.req.Blobs, index, func(e *tree.Entry) error {
		if e.Type == tar.TypeReg {
			body = e.Body
		}
		return nil
	}); err != nil {
		b.err = err
		return nil
	}
	a := stepio.OfBody(body)
	if err := stepio.Sum(b.ctx, b.req.Blobs, a); err != nil {
		b.err = stepio.Missing(err, a, b.req)
		return nil
	}
	document := ociBlob{imagespec.Descriptor{MediaType: sbomArtifact, Digest: digestOf(a.Digest), Size: a.Size}, extents.Of(a)}
	empty := imagespec.DescriptorEmptyJSON
	manifest := b.json(imagespec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imagespec.MediaTypeImageManifest, ArtifactType: sbomArtifact,
		Config: imagespec.Descriptor{MediaType: empty.MediaType, Digest: empty.Digest, Size: empty.Size}, Layers: []imagespec.Descriptor{document.desc},
		Subject: &imagespec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	}, imagespec.MediaTypeImageManifest)
	return []ociBlob{document, {empty, extents.Bytes(empty.Data)}, manifest}
}

// json is a document as a blob.
func (b *assembly) json(v any, mediaType string) ociBlob {
	data, err := json.Marshal(v)
	if err != nil && b.err == nil {
		b.err = err
	}
	return ociBlob{imagespec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, extents.Bytes(data)}
}

func digestOf(d cache.Digest) digest.Digest { return digest.Digest(d.String()) }

// described is the artifact of the input of that name.
func (b *assembly) described(name string) *artifact.Artifact {
	if b.err != nil {
		return nil
	}
	d := b.req.Input(name)
	if d.IsZero() {
		b.err = step.Failf("a step of kind %s lacks its input %q; coordinators and builders are of different releases", b.req.Kind, name)
		return nil
	}
	a, err := stepio.GetArtifact(b.ctx, b.req.Blobs, d)
	if err != nil {
		b.err = err
	}
	return a
}

// tarFile adds a tar member.
func (b *assembly) tarFile(name string, content *extents.List) {
	if b.err != nil {
		return
	}
	var head bytes.Buffer
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: content.Size(), ModTime: part.DefaultTime, Format: tar.FormatPAX}
	if err := tar.NewWriter(&head).WriteHeader(h); err != nil {
		b.err = err
		return
	}
	b.inline(head.Bytes())
	b.add(content.Runs()...)
	b.padTar()
}
