package oci

import (
	"context"
	"errors"
	"strings"
	"testing"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
)

func TestResolve(t *testing.T) {
	c := content{}
	amd, arm := c.image(t, "linux/amd64", "amd layer"), c.image(t, "linux/arm64/v8", "arm layer")
	sbom := c.attestation(t, arm, "sbom of arm")
	bare := amd
	bare.Platform = nil
	liar := amd
	liar.Platform = arm.Platform
	gone := arm
	gone.Digest = cacheDigest("gone")
	deep := c.index(t, amd)
	for range 6 {
		deep = c.index(t, deep)
	}
	unsaid := c.image(t, "", "layer")

	for _, tt := range []struct {
		name, platform string
		target         imagespec.Descriptor
		layer, err     string // one of them
		sboms          int
	}{
		{name: "a single manifest for its platform", target: amd, platform: "linux/amd64", layer: "amd layer"},
		{name: "a single manifest is refused for another platform", target: amd, platform: "linux/arm64",
			err: "image example.com/i:1 is not available for linux/arm64: it has linux/amd64"},
		{name: "an index by platform, with its SBOM", target: c.index(t, amd, arm, sbom), platform: "linux/arm64", layer: "arm layer", sboms: 1},
		{name: "an SBOM belongs to one platform", target: c.index(t, amd, arm, sbom), platform: "linux/amd64", layer: "amd layer"},
		{name: "an index without the platform names those it has", target: c.index(t, amd, arm, sbom), platform: "linux/riscv64",
			err: "image example.com/i:1 is not available for linux/riscv64: it has linux/amd64, linux/arm64"},
		{name: "an index entry without a platform is asked for it", target: c.index(t, arm, bare), platform: "linux/amd64", layer: "amd layer"},
		{name: "an index in an index", target: c.index(t, c.index(t, amd, arm)), platform: "linux/amd64", layer: "amd layer"},
		{name: "an index that mislabels its image is refused", target: c.index(t, liar), platform: "linux/arm64",
			err: "image example.com/i:1 is not available for linux/arm64: it has linux/amd64"},
		{name: "a manifest that is nowhere", target: c.index(t, amd, gone), platform: "linux/arm64", err: "not in the cache"},
		{name: "indexes nested too deep", target: deep, platform: "linux/amd64", err: "nested more than 4 deep"},
		{name: "a config without a platform", target: unsaid, platform: "linux/amd64", err: "does not say for which platform"},
		{name: "an attestation that is nowhere says nothing", platform: "linux/amd64", layer: "amd layer",
			target: c.index(t, amd, func() imagespec.Descriptor { d := c.attestation(t, amd, "x"); d.Digest = gone.Digest; return d }())},
		{name: "a malformed platform", target: amd, platform: "linux", err: `"linux" is no platform`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Resolve(context.Background(), c.fetch, "example.com/i:1", tt.target, tt.platform)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want an error with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Layers) != 1 || got.Layers[0].Digest != string(cacheDigest(tt.layer)) || len(got.Sboms) != tt.sboms {
				t.Errorf("got %v", got)
			}
			if (got.Index != "") != (tt.target.MediaType == imagespec.MediaTypeImageIndex) || got.Platform != tt.platform {
				t.Errorf("index %q, platform %q", got.Index, got.Platform)
			}
		})
	}
}

func TestResolveVerifiesWhatItFetches(t *testing.T) {
	c := content{}
	amd := c.image(t, "linux/amd64", "layer")
	c[amd.Digest] = append([]byte(" "), c[amd.Digest]...)
	_, err := Resolve(context.Background(), c.fetch, "example.com/i:1", amd, "linux/amd64")
	if !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
}

func TestParseDocumentRefuses(t *testing.T) {
	const d = `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":1}`
	for _, tt := range []struct{ name, data, mediaType, want string }{
		{"what is no JSON", "hello", "", "not valid JSON"},
		{"schema 1", `{"schemaVersion":1,"fsLayers":[]}`, "", "old schema 1"},
		{"another schema version", `{"schemaVersion":3,"manifests":[]}`, "", "schema version 3"},
		{"an index that is an image, too", `{"schemaVersion":2,"manifests":[],"layers":[],"config":` + d + `}`, "", "index and an image at once"},
		{"an image listed as an index", `{"schemaVersion":2,"config":` + d + `,"layers":[]}`, imagespec.MediaTypeImageIndex, "neither an index nor an image"},
		{"an index that is listed as an image", `{"schemaVersion":2,"mediaType":"` + DockerList + `","manifests":[]}`, imagespec.MediaTypeImageManifest, "is listed as"},
		{"an image that says it is an index", `{"schemaVersion":2,"mediaType":"` + DockerList + `","config":` + d + `,"layers":[]}`, "", "neither an index nor an image"},
		{"a type that is neither", `{"schemaVersion":2,"mediaType":"application/vnd.oci.artifact.manifest.v1+json","config":` + d + `,"layers":[]}`, "", "neither an index nor an image"},
		{"a digest that is none", `{"schemaVersion":2,"manifests":[{"digest":"sha256:12","size":1}]}`, "", "manifest 0"},
		{"a negative size", `{"schemaVersion":2,"manifests":[` + strings.Replace(d, `"size":1`, `"size":-1`, 1) + `]}`, "", "negative size"},
		{"neither", `{"schemaVersion":2}`, "", "neither an index nor an image"},
		{"too many layers", `{"schemaVersion":2,"config":` + d + `,"layers":[` + d + strings.Repeat(","+d, maxChildren) + `]}`, "", "at most 4096"},
		{"too many bytes", strings.Repeat(" ", MaxDocument+1), "", "at most 4194304"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseDocument([]byte(tt.data), tt.mediaType); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// RFC 9110 §8.3.1: types are compared without regard to case or parameters. What a document says of itself, or shows, is believed.
func TestParseDocumentBelievesWhatADocumentSays(t *testing.T) {
	const d = `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":1}`
	image := func(mediaType string) string {
		return `{"schemaVersion":2,` + mediaType + `"config":` + d + `,"layers":[` + d + `]}`
	}
	const docker, oci = `"mediaType":"` + DockerManifest + `",`, `"mediaType":"` + imagespec.MediaTypeImageManifest + `",`
	for _, tt := range []struct{ name, data, called, want string }{
		{"with a parameter", image(oci), imagespec.MediaTypeImageManifest + "; charset=utf-8", imagespec.MediaTypeImageManifest},
		{"with a parameter that is none", image(oci), imagespec.MediaTypeImageManifest + "; =", imagespec.MediaTypeImageManifest},
		{"in another case", image(oci), strings.ToUpper(imagespec.MediaTypeImageManifest), imagespec.MediaTypeImageManifest},
		{"called JSON", image(oci), "application/json", imagespec.MediaTypeImageManifest},
		{"called bytes", image(docker), "application/octet-stream", DockerManifest},
		{"called text", image(""), "text/plain; charset=utf-8", imagespec.MediaTypeImageManifest},
		{"OCI called Docker", image(oci), DockerManifest, imagespec.MediaTypeImageManifest},
		{"Docker called OCI", image(docker), imagespec.MediaTypeImageManifest, DockerManifest},
		{"not saying", image(""), "", imagespec.MediaTypeImageManifest},
		{"not saying, called Docker", image(""), DockerManifest, DockerManifest},
		{"saying it in another case", image(`"mediaType":"Application/vnd.OCI.image.manifest.v1+json ; a=b",`), "", imagespec.MediaTypeImageManifest},
		{"an index called a list", `{"schemaVersion":2,"mediaType":"` + imagespec.MediaTypeImageIndex + `","manifests":[` + d + `]}`, DockerList, imagespec.MediaTypeImageIndex},
		{"an index that does not say", `{"schemaVersion":2,"manifests":[]}`, "text/plain", imagespec.MediaTypeImageIndex},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := ParseDocument([]byte(tt.data), tt.called)
			if err != nil || doc.MediaType != tt.want {
				t.Errorf("got %+v, %v; want one of type %s", doc, err, tt.want)
			}
		})
	}
}

func TestAnIndexMayCallItsManifestsInAnotherCase(t *testing.T) {
	c := content{}
	amd := c.image(t, "linux/amd64", "layer")
	amd.MediaType = strings.ToUpper(amd.MediaType) + "; charset=utf-8"
	inner := c.index(t, amd)
	inner.MediaType = "Application/Vnd.oci.image.INDEX.v1+json"
	got, err := Resolve(context.Background(), c.fetch, "example.com/i:1", c.index(t, inner), "linux/amd64")
	if err != nil || got.GetManifest() != string(amd.Digest) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestALayerOfAnotherCompressionIsRefusedByName(t *testing.T) {
	for _, suffix := range []string{"+xz", "+bzip2", "+lz4", ".xz", "+XZ; a=b"} {
		mediaType := imagespec.MediaTypeImageLayer + suffix
		err := CheckLayers([]imagespec.Descriptor{{MediaType: mediaType}})
		if err == nil || !strings.Contains(err.Error(), mediaType) || !strings.Contains(err.Error(), "gzip and zstd") {
			t.Errorf("%s: got %v", mediaType, err)
		}
	}
}

func TestCheckLayers(t *testing.T) {
	for mediaType, good := range map[string]bool{
		imagespec.MediaTypeImageLayer: true, imagespec.MediaTypeImageLayerGzip: true, imagespec.MediaTypeImageLayerZstd: true, DockerLayer: true,
		"application/vnd.docker.image.rootfs.diff.tar":               true,
		"application/vnd.docker.image.rootfs.diff.tar.zstd":          true,
		"application/vnd.OCI.image.layer.v1.tar+GZIP; charset=utf-8": true,
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":  false,
		"application/vnd.oci.image.layer.nondistributable.v1.tar":    false,
		"application/vnd.oci.image.layer.v1.tar+gzip+encrypted":      false,
		"application/vnd.cncf.helm.chart.content.v1":                 false,
	} {
		if err := CheckLayers([]imagespec.Descriptor{{MediaType: mediaType}}); (err == nil) != good {
			t.Errorf("%s: got %v", mediaType, err)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	c := content{}
	amd := c.image(f, "linux/amd64", "layer")
	index := c.index(f, amd)
	f.Add(c[amd.Digest], amd.MediaType)
	f.Add(c[index.Digest], "")
	f.Fuzz(func(t *testing.T, data []byte, mediaType string) {
		doc, err := ParseDocument(data, mediaType)
		if err != nil {
			return
		}
		if (doc.Index == nil) == (doc.Manifest == nil) {
			t.Fatal("neither or both of index and manifest")
		}
		target := content{}.add(doc.MediaType, data)
		fetch := func(context.Context, imagespec.Descriptor) ([]byte, error) { return data, nil }
		_, _ = Resolve(context.Background(), fetch, "example.com/i:1", target, "linux/amd64")
	})
}
