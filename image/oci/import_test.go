package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/record"
)

func wantLayer(t *testing.T, d *disk.Store, reference, platform, want string) {
	t.Helper()
	image, err := ResolveName(context.Background(), d, d, reference, platform)
	if err != nil {
		t.Errorf("%s for %s: %v", reference, platform, err)
		return
	}
	if len(image.Layers) != 1 || string(readBlob(t, d, image.Layers[0].Digest)) != want {
		t.Errorf("%s for %s: got layers %v, want %q", reference, platform, image.Layers, want)
	}
}

func TestImportLayout(t *testing.T) {
	c := content{}
	amd, arm := c.image(t, "linux/amd64", "amd layer"), c.image(t, "linux/arm64", "arm layer")
	both := c.index(t, amd, arm, c.attestation(t, amd, "sbom"))
	absent := arm
	absent.Digest = cacheDigest("left out")
	partial := c.index(t, amd, absent)
	for _, tt := range []struct {
		name    string
		entries []imagespec.Descriptor
		want    []string
	}{
		{"an index named by containerd", []imagespec.Descriptor{withName(both, annotationImageName, "docker.io/library/both:1")}, []string{"docker.io/library/both:1"}},
		{"a manifest named by reference", []imagespec.Descriptor{withName(amd, imagespec.AnnotationRefName, "lab/both")}, []string{"docker.io/lab/both:latest"}},
		{"several images", []imagespec.Descriptor{withName(amd, annotationImageName, "a:1"), withName(arm, annotationImageName, "b:1"), arm},
			[]string{"docker.io/library/a:1", "docker.io/library/b:1"}},
		{"platforms of one name", []imagespec.Descriptor{withName(arm, annotationImageName, "a:1"), withName(amd, annotationImageName, "a:1")}, []string{"docker.io/library/a:1"}},
		{"an index within an index", []imagespec.Descriptor{withName(c.index(t, both), annotationImageName, "n:1")}, []string{"docker.io/library/n:1"}},
		{"an index with one platform exported", []imagespec.Descriptor{withName(partial, annotationImageName, "p:1")}, []string{"docker.io/library/p:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := openDir(t)
			got, err := Import(context.Background(), d, d, bytes.NewReader(archiveOf(t, c.layout(t, tt.entries...)...)), "")
			if err != nil || !slices.Equal(got, tt.want) {
				t.Fatalf("got %v, %v; want %v", got, err, tt.want)
			}
			if tt.name == "several images" {
				wantLayer(t, d, "b:1", "linux/arm64", "arm layer")
				return
			}
			wantLayer(t, d, got[0], "linux/amd64", "amd layer")
			if tt.name == "platforms of one name" {
				wantLayer(t, d, got[0], "linux/arm64", "arm layer")
			}
		})
	}
}

// dockerArchive is what docker save wrote before it wrote OCI layouts: the layer of the second image is a link.
func dockerArchive(t *testing.T, layer []byte) []file {
	t.Helper()
	config := func(arch string) []byte {
		data, err := json.Marshal(imagespec.Image{Platform: imagespec.Platform{OS: "linux", Architecture: arch},
			RootFS: imagespec.RootFS{Type: "layers", DiffIDs: []digest.Digest{cacheDigest("layer")}}})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	amd, arm := config("amd64"), config("arm64")
	amdName, armName := digest.FromBytes(amd).Encoded()+".json", digest.FromBytes(arm).Encoded()+".json"
	list, err := json.Marshal([]dockerEntry{
		{Config: amdName, RepoTags: []string{"hello:1", "example.com/other"}, Layers: []string{"one/layer.tar"}},
		{Config: armName, RepoTags: []string{"hello:1"}, Layers: []string{"two/layer.tar"}},
		{Config: armName, Layers: []string{"two/layer.tar"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return []file{
		{name: amdName, data: amd},
		{name: "one/", typ: tar.TypeDir}, {name: "one/layer.tar", data: layer},
		{name: "two/layer.tar", link: "../one/layer.tar"},
		{name: armName, data: arm}, {name: "manifest.json", data: list}, {name: "repositories", data: []byte("{}")},
	}
}

func TestImportDockerSave(t *testing.T) {
	plain := archiveOf(t, dockerArchive(t, []byte("layer"))...)
	for name, data := range map[string][]byte{"plain": plain, "compressed": gzipped(t, plain), "compressed and padded": append(gzipped(t, plain), make([]byte, 512)...)} {
		t.Run(name, func(t *testing.T) {
			d := openDir(t)
			got, err := Import(context.Background(), d, d, bytes.NewReader(data), "")
			if want := []string{"docker.io/library/hello:1", "example.com/other:latest"}; err != nil || !slices.Equal(got, want) {
				t.Fatalf("got %v, %v; want %v", got, err, want)
			}
			wantLayer(t, d, "hello:1", "linux/amd64", "layer")
			wantLayer(t, d, "hello:1", "linux/arm64", "layer")
			wantLayer(t, d, "example.com/other", "linux/amd64", "layer")
		})
	}
	t.Run("with compressed layers", func(t *testing.T) {
		d := openDir(t)
		layer := gzipped(t, []byte("layer"))
		if _, err := Import(context.Background(), d, d, bytes.NewReader(archiveOf(t, dockerArchive(t, layer)...)), ""); err != nil {
			t.Fatal(err)
		}
		wantLayer(t, d, "hello:1", "linux/amd64", string(layer))
	})
}

func TestImportRefuses(t *testing.T) {
	c := content{}
	amd := c.image(t, "linux/amd64", "amd layer")
	entry := withName(amd, annotationImageName, "hello:1")
	good := c.layout(t, entry)
	without := func(d digest.Digest) []file {
		return slices.DeleteFunc(slices.Clone(good), func(f file) bool { return strings.HasSuffix(f.name, d.Encoded()) })
	}
	layer := cacheDigest("amd layer")
	larger := entry
	larger.Size++
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"what is no tar", bytes.Repeat([]byte("hello "), 200), "the archive is no tar"},
		{"an empty file", nil, "neither index.json"},
		{"an archive of something else", archiveOf(t, file{name: "a", data: []byte("a")}), "neither index.json"},
		{"a name outside of the archive", archiveOf(t, append(good, file{name: "../x", data: []byte("a")})...), `named "../x", which would lie outside`},
		{"an absolute name", archiveOf(t, append(good, file{name: "/etc/x", data: []byte("a")})...), "would lie outside"},
		{"a link out of the archive", archiveOf(t, append(good, file{name: "x", link: "../../etc/passwd"})...), "would lie outside"},
		{"a device", archiveOf(t, append(good, file{name: "x", typ: tar.TypeChar})...), "of type '3'"},
		{"a file twice", archiveOf(t, append(good, good[1])...), "index.json in the archive: it is there twice"},
		{"a blob that is not its digest", archiveOf(t, append(without(layer), file{name: "blobs/sha256/" + layer.Encoded(), data: []byte("other")})...), "do not match their digest"},
		{"a blob whose name is no digest", archiveOf(t, append(good, file{name: "blobs/sha256/xyz"})...), "blobs/sha256/xyz in the archive"},
		{"a missing layer", archiveOf(t, without(layer)...), "image docker.io/library/hello:1: the archive lacks " + string(layer)},
		{"a missing manifest", archiveOf(t, without(amd.Digest)...), "the archive lacks its manifest " + string(amd.Digest)},
		{"a manifest of another size", archiveOf(t, c.layout(t, larger)...), "is described with"},
		{"images without names", archiveOf(t, c.layout(t, amd)...), "no image there has a name: give it one with --name"},
		{"a name that is none", archiveOf(t, c.layout(t, withName(amd, annotationImageName, "../x"))...), `"../x" is no image reference`},
		{"a truncated archive", archiveOf(t, good...)[:1600], "unexpected EOF"},
		{"an archive that is compressed with xz", []byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"), "compressed with xz"},
		{"a docker layer that is compressed with lz4", archiveOf(t, dockerArchive(t, []byte("\x04\x22\x4d\x18\x64\x40\xa7"))...), "layer one/layer.tar: it is compressed with lz4"},
		{"a mislabelled docker layer", archiveOf(t, dockerArchive(t, []byte("another"))...), "the image's config promises"},
		{"a docker archive without its layer", archiveOf(t, slices.DeleteFunc(dockerArchive(t, nil), func(f file) bool { return f.name == "one/layer.tar" })...), "the archive lacks one/layer.tar"},
		{"links in a circle", archiveOf(t, append(slices.DeleteFunc(dockerArchive(t, nil), func(f file) bool { return f.name == "one/layer.tar" }), file{name: "one/layer.tar", link: "../two/layer.tar"})...), "the archive lacks one/layer.tar"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := openDir(t)
			_, err := Import(context.Background(), d, d, bytes.NewReader(tt.data), "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if names, err := record.ListNames(context.Background(), d); err != nil || len(names) != 0 {
				t.Errorf("left names: %v, %v", names, err)
			}
		})
	}
}

func TestImportTwiceReplaces(t *testing.T) {
	d := openDir(t)
	for _, layer := range []string{"old", "new"} {
		c := content{}
		entry := withName(c.image(t, "linux/amd64", layer), annotationImageName, "hello:1")
		if _, err := Import(context.Background(), d, d, bytes.NewReader(archiveOf(t, c.layout(t, entry)...)), ""); err != nil {
			t.Fatal(err)
		}
		wantLayer(t, d, "hello:1", "linux/amd64", layer)
	}
	_, err := ResolveName(context.Background(), d, d, "unknown:1", "linux/amd64")
	if !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func FuzzImport(f *testing.F) {
	c := content{}
	f.Add(archiveOf(f, c.layout(f, withName(c.image(f, "linux/amd64", "layer"), annotationImageName, "a:1"))...))
	f.Add(archiveOf(f, file{name: "manifest.json", data: []byte(`[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]`)}, file{name: "c", data: []byte(`{}`)}))
	d := openDir(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = Import(context.Background(), d, d, bytes.NewReader(data), "")
	})
}

// sparseArchive is 1.5 KiB that GNU tar writes for a file of 1 TiB of zeros (GNU tar, "PAX Format, Version 1.0").
func sparseArchive(t *testing.T) []byte {
	t.Helper()
	var records string
	for _, r := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=zeros", "GNU.sparse.realsize=1099511627776"} {
		records += fmt.Sprintf("%d %s\n", len(r)+4, r)
	}
	spare := make([]byte, 512) // the sparse map: no fragments
	copy(spare, "0\n")
	data := archiveOf(t, file{name: "h", typ: tar.TypeReg, data: []byte(records)}, file{name: "GNUSparseFile.0/zeros", data: spare})
	data[156] = tar.TypeXHeader
	copy(data[148:156], "        ")
	sum := 0
	for _, b := range data[:512] {
		sum += int(b)
	}
	copy(data[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

func TestImportRefusesSparseFiles(t *testing.T) {
	d := openDir(t)
	_, err := Import(context.Background(), d, d, bytes.NewReader(sparseArchive(t)), "")
	if err == nil || !strings.Contains(err.Error(), "sparse file") {
		t.Errorf("got %v, want a refusal", err)
	}
}
