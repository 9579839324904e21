package conformance

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var platforms = []string{"linux/amd64", "linux/arm64"}

// library is the fixtures in a cache, and what their references mean.
type library struct {
	dir  *cache.Dir
	lock *kilnv1.Lock
}

// newLibrary stores images for references; nil means those of labFixtures.
func newLibrary(t testing.TB, fixtures []fixture) *library {
	t.Helper()
	dir, err := cache.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := &library{dir: dir, lock: &kilnv1.Lock{}}
	for _, f := range fixtures {
		switch built := f.build().(type) {
		case v1.ImageIndex:
			raw, err := built.RawManifest()
			must(err)
			index := l.put(t, bytes.NewReader(raw))
			manifest, err := built.IndexManifest()
			must(err)
			for _, m := range manifest.Manifests {
				image, err := built.Image(m.Digest)
				must(err)
				l.add(t, f.ref, m.Platform.OS+"/"+m.Platform.Architecture, index, image)
			}
		case v1.Image:
			l.add(t, f.ref, "linux/amd64", "", built)
		}
	}
	return l
}

func (l *library) put(t testing.TB, r io.Reader) string {
	t.Helper()
	draft, err := l.dir.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	if _, err := draft.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	d, _, err := draft.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func (l *library) add(t testing.TB, ref, platform, index string, image v1.Image) {
	t.Helper()
	manifest, err := image.RawManifest()
	must(err)
	config, err := image.RawConfigFile()
	must(err)
	resolved := &kilnv1.ResolvedImage{
		Reference: ref, Platform: platform, Index: index,
		Manifest: l.put(t, bytes.NewReader(manifest)), Config: l.put(t, bytes.NewReader(config)),
	}
	layers, err := image.Layers()
	must(err)
	for _, layer := range layers {
		r, err := layer.Compressed()
		must(err)
		digest := l.put(t, r)
		r.Close()
		size, err := layer.Size()
		must(err)
		resolved.Layers = append(resolved.Layers, &kilnv1.Layer{Digest: digest, Size: size})
	}
	l.lock.Images = append(l.lock.Images, resolved)
}

// short is a case's name without directory and extension.
func short(file string) string {
	return strings.TrimSuffix(file[strings.LastIndexByte(file, '/')+1:], ".yml")
}
