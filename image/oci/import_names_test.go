package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/record"
)

// withNames is withName of both annotations.
func withNames(d imagespec.Descriptor, name, reference string) imagespec.Descriptor {
	d.Annotations = map[string]string{annotationImageName: name, imagespec.AnnotationRefName: reference}
	return d
}

// What an archive calls its images, and what they are called then: with --name, and without.
func TestImportNames(t *testing.T) {
	c := content{}
	amd, arm := c.image(t, "linux/amd64", "amd layer"), c.image(t, "linux/arm64", "arm layer")
	other := c.image(t, "linux/amd64", "another layer")
	both := c.index(t, amd, arm)
	tag := func(d imagespec.Descriptor, tag string) imagespec.Descriptor {
		return withName(d, imagespec.AnnotationRefName, tag)
	}
	unlabelled := amd
	unlabelled.Platform = nil
	artifact := c.addJSON(t, imagespec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "mediaType": imagespec.MediaTypeImageManifest,
		"artifactType": "application/spdx+json", "config": c.add("application/vnd.oci.empty.v1+json", []byte("{}")), "layers": []any{}})
	list, err := json.Marshal([]dockerEntry{{Config: "c.json", Layers: []string{"l"}}})
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(imagespec.Image{Platform: imagespec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS: imagespec.RootFS{Type: "layers", DiffIDs: []digest.Digest{cacheDigest("layer")}}})
	if err != nil {
		t.Fatal(err)
	}
	saved := []file{{name: "c.json", data: config}, {name: "l", data: []byte("layer")}, {name: "manifest.json", data: list}}
	const lab = "lab.example/x:2"
	for _, tt := range []struct {
		name  string
		files []file
		own   string // the names without --name, or a part of the refusal
		as    string // the same with --name lab.example/x:2
	}{
		{"a bare tag", c.layout(t, tag(amd, "1.2")), `refused: only the tag "1.2": give it one with --name, such as --name example.com/image:1.2`, lab},
		{"a bare tag without a platform", c.layout(t, tag(unlabelled, "1.2")), `refused: only the tag "1.2"`, lab},
		{"latest", c.layout(t, tag(both, "latest")), "refused: --name", lab},
		{"bare tags of several", c.layout(t, tag(amd, "1"), tag(other, "2")), "refused: no image there has a name", "refused: several images (1, 2)"},
		{"no name", c.layout(t, amd), "refused: no image there has a name", lab},
		{"no name, an index", c.layout(t, both), "refused: no image there has a name", lab},
		{"no names, two platforms", c.layout(t, amd, arm), "refused: no image there has a name", lab},
		{"no names, one platform twice", c.layout(t, amd, other), "refused: no image there has a name", "refused: several images (sha256:"},
		{"no names, an index and an image", c.layout(t, both, other), "refused: no image there has a name", "refused: several images"},
		{"one name", c.layout(t, withNames(both, "docker.io/library/a:1", "1")), "docker.io/library/a:1", lab},
		{"a whole name as reference", c.layout(t, tag(amd, "example.com/a:1")), "example.com/a:1", lab},
		{"a name with a tag and no registry", c.layout(t, tag(amd, "a:1")), "docker.io/library/a:1", lab},
		{"two names of one image", c.layout(t, withNames(amd, "a:1", "1"), withNames(amd, "a:2", "2")), "docker.io/library/a:1 docker.io/library/a:2", lab},
		{"two images", c.layout(t, withNames(amd, "a:1", "1"), withNames(other, "b:1", "1")), "docker.io/library/a:1 docker.io/library/b:1", "refused: several images (a:1, b:1)"},
		{"a named image and what belongs to it", c.layout(t, tag(amd, "latest"), artifact), `refused: only the tag "latest"`, lab},
		{"a named image and its attestation", c.layout(t, withNames(amd, "a:1", "1"), c.attestation(t, amd, "sbom")), "docker.io/library/a:1", lab},
		{"platforms of one name", c.layout(t, withNames(amd, "a:1", "1"), withNames(arm, "a:1", "1")), "docker.io/library/a:1", lab},
		{"nothing", c.layout(t), "refused: there are no images", "refused: there are no images"},
		{"docker save by id", saved, "refused: no image there has a name", lab},
		{"docker save by id, as a layout, too", append(c.layout(t, amd), saved...), "refused: no image there has a name", lab},
		{"docker save of a tag, in a layout without names", append(c.layout(t, amd), file{name: "manifest.json", data: bytes.Replace(list, []byte(`"RepoTags":null`), []byte(`"RepoTags":["d:1"]`), 1)},
			saved[0], saved[1]), "docker.io/library/d:1", lab},
		{"docker save of two images", dockerArchive(t, []byte("layer")), "docker.io/library/hello:1 example.com/other:latest", "refused: several images"},
	} {
		for as, want := range map[string]string{"": tt.own, lab: tt.as} {
			dir := t.TempDir()
			unpack(t, dir, tt.files)
			for way, run := range map[string]func(*disk.Store) ([]string, error){
				"as an archive": func(d *disk.Store) ([]string, error) {
					return Import(context.Background(), d, d, bytes.NewReader(archiveOf(t, tt.files...)), as)
				},
				"as a directory": func(d *disk.Store) ([]string, error) { return ImportDir(context.Background(), d, d, dir, as) },
			} {
				t.Run(tt.name+" "+way+" "+as, func(t *testing.T) {
					d := openDir(t)
					got, err := run(d)
					if refusal, ok := strings.CutPrefix(want, "refused: "); ok {
						if err == nil || !strings.Contains(err.Error(), refusal) || strings.Contains(err.Error(), "\n") {
							t.Errorf("got %v, %v; want a refusal with %q", got, err, refusal)
						}
						if names, err := record.ListNames(context.Background(), d); err != nil || len(names) != 0 {
							t.Errorf("left names: %v, %v", names, err)
						}
						return
					}
					if err != nil || strings.Join(got, " ") != want {
						t.Fatalf("got %v, %v; want %s", got, err, want)
					}
					for _, name := range got {
						if _, err := ResolveName(context.Background(), d, d, name, "linux/amd64"); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
	}
}

// unpack writes an archive's files into a directory.
func unpack(t *testing.T, dir string, files []file) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case strings.HasSuffix(f.name, "/"):
			err = os.MkdirAll(path, 0o755)
		case f.link != "":
			err = os.Symlink(f.link, path)
		default:
			err = os.WriteFile(path, f.data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestANameThatIsNoneIsRefused(t *testing.T) {
	c := content{}
	archive := archiveOf(t, c.layout(t, c.image(t, "linux/amd64", "layer"))...)
	for _, as := range []string{"Lab/X:1", "a b", "lab.example/x:1@sha256:" + strings.Repeat("0", 64), "../x"} {
		d := openDir(t)
		if got, err := Import(context.Background(), d, d, bytes.NewReader(archive), as); err == nil {
			t.Errorf("%q: got %v, want a refusal", as, got)
		}
	}
}

// Of a directory, only what its images consist of is read, and nothing outside of it.
func TestImportDirReadsWhatItNames(t *testing.T) {
	c := content{}
	amd := c.image(t, "linux/amd64", "layer")
	entry := withName(amd, annotationImageName, "a:1")
	unpacked := func(t *testing.T) string {
		dir := t.TempDir()
		unpack(t, dir, c.layout(t, entry))
		return dir
	}
	layer := "blobs/sha256/" + cacheDigest("layer").Encoded()
	refused := func(name, want string, change func(t *testing.T, dir string)) {
		t.Run(name, func(t *testing.T) {
			dir, d := unpacked(t), openDir(t)
			change(t, dir)
			done := make(chan error, 1)
			go func() {
				_, err := ImportDir(context.Background(), d, d, dir, "")
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want an error with %q", err, want)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it hangs")
			}
		})
	}
	check := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused("no index", "neither index.json", func(t *testing.T, dir string) { check(t, os.Remove(filepath.Join(dir, "index.json"))) })
	refused("a layer that is not its digest", "do not match their digest", func(t *testing.T, dir string) {
		check(t, os.WriteFile(filepath.Join(dir, layer), []byte("other"), 0o644))
	})
	refused("a layer that is not there", "the archive lacks sha256:", func(t *testing.T, dir string) { check(t, os.Remove(filepath.Join(dir, layer))) })
	refused("a layer that is a named pipe", "is not a file", func(t *testing.T, dir string) {
		check(t, os.Remove(filepath.Join(dir, layer)))
		check(t, syscall.Mkfifo(filepath.Join(dir, layer), 0o644))
	})
	refused("an index that is a named pipe", "index.json is not a file", func(t *testing.T, dir string) {
		check(t, os.Remove(filepath.Join(dir, "index.json")))
		check(t, syscall.Mkfifo(filepath.Join(dir, "index.json"), 0o644))
	})
	refused("a layer that is a link out of it", "path escapes", func(t *testing.T, dir string) {
		outside := filepath.Join(t.TempDir(), "layer")
		check(t, os.WriteFile(outside, []byte("layer"), 0o644))
		check(t, os.Remove(filepath.Join(dir, layer)))
		check(t, os.Symlink(outside, filepath.Join(dir, layer)))
	})
	refused("a name of docker's that leads out of it", "would lie outside", func(t *testing.T, dir string) {
		check(t, os.Remove(filepath.Join(dir, "index.json")))
		check(t, os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`[{"Config":"../../etc/passwd","RepoTags":["a:1"]}]`), 0o644))
	})
	t.Run("what it does not name stays there", func(t *testing.T) {
		dir, d := unpacked(t), openDir(t)
		check(t, os.WriteFile(filepath.Join(dir, "blobs/sha256/"+cacheDigest("more").Encoded()), []byte("more"), 0o644))
		names, err := ImportDir(context.Background(), d, d, dir, "")
		if err != nil || !slices.Equal(names, []string{"docker.io/library/a:1"}) {
			t.Fatalf("got %v, %v", names, err)
		}
		wantLayer(t, d, "a:1", "linux/amd64", "layer")
		digest, err := cache.ParseDigest(string(cacheDigest("more")))
		check(t, err)
		if missing, err := d.MissingBlobs(context.Background(), []cache.Digest{digest}); err != nil || len(missing) != 1 {
			t.Errorf("it was stored: %v, %v", missing, err)
		}
	})
}
