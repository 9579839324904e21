package conformance

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kiln-farm/kiln/cache/disk"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var platforms = []string{"linux/amd64", "linux/arm64"}

// library is the fixtures in a cache, and what their references mean.
type library struct {
	dir  *disk.Store
	lock *kilnv1.Lock
}

// lab is the library of our own fixtures: making it takes longer than most tests, and nobody changes it. TestMain
// removes it.
var lab = sync.OnceValue(func() *library {
	root, err := os.MkdirTemp("", "conformance")
	must(err)
	return newLibrary(root, labFixtures())
})

func TestMain(m *testing.M) {
	code := m.Run()
	must(os.RemoveAll(lab().dir.Path()))
	os.Exit(code)
}

// newLibrary stores fixtures in a cache in the directory root.
func newLibrary(root string, fixtures []fixture) *library {
	dir, err := disk.Open(root)
	must(err)
	l := &library{dir: dir, lock: &kilnv1.Lock{}}
	for _, f := range fixtures {
		switch built := f.build().(type) {
		case v1.ImageIndex:
			raw, err := built.RawManifest()
			must(err)
			index := l.put(bytes.NewReader(raw))
			manifest, err := built.IndexManifest()
			must(err)
			for _, m := range manifest.Manifests {
				image, err := built.Image(m.Digest)
				must(err)
				l.add(f.ref, m.Platform.OS+"/"+m.Platform.Architecture, index, image)
			}
		case v1.Image:
			l.add(f.ref, "linux/amd64", "", built)
		}
	}
	return l
}

func (l *library) put(r io.Reader) string {
	draft, err := l.dir.Create(context.Background())
	must(err)
	defer draft.Abort()
	_, err = draft.ReadFrom(r)
	must(err)
	d, _, err := draft.Commit()
	must(err)
	return d.String()
}

func (l *library) add(ref, platform, index string, image v1.Image) {
	manifest, err := image.RawManifest()
	must(err)
	config, err := image.RawConfigFile()
	must(err)
	resolved := &kilnv1.ResolvedImage{
		Reference: ref, Platform: platform, Index: index,
		Manifest: l.put(bytes.NewReader(manifest)), Config: l.put(bytes.NewReader(config)),
	}
	layers, err := image.Layers()
	must(err)
	for _, layer := range layers {
		r, err := layer.Compressed()
		must(err)
		digest := l.put(r)
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
