package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const services = 12

var epoch = time.Date(2021, 6, 1, 12, 0, 0, 0, time.UTC)

// member is a file of a generated layer.
type member struct {
	name string
	body []byte
}

// corpus is the Go installation as one run of bytes: real programs and sources.
func corpus() ([]byte, error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find the Go installation: %w", err)
	}
	var all []byte
	err = filepath.WalkDir(strings.TrimSpace(string(goroot)), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		all = append(all, body...)
		return err
	})
	return all, err
}

// writeImages writes the bench's images as OCI layout tars into dir: a kernel, an init, services m00:1 to m11:1, and
// variants of m05 (tags 2, 3, ...) that differ in one file of 1 MiB.
func writeImages(dir string, size, variants int) error {
	source, err := corpus()
	if err != nil {
		return err
	}
	add := func(reference string, members func(arch string) []member) error {
		file := filepath.Join(dir, strings.NewReplacer("/", "_", ":", "_").Replace(reference)+".tar")
		return writeLayout(file, reference, members)
	}
	kernel := func(arch string) []member {
		return []member{{"kernel", append([]byte(arch), source[:10<<20]...)}, {"kernel.tar", emptyTar()}}
	}
	if err := add("docker.io/bench/kernel:1", kernel); err != nil {
		return err
	}
	if err := add("docker.io/bench/init:1", func(arch string) []member {
		return []member{{"bin/init", append([]byte(arch), source[10<<20:12<<20]...)}}
	}); err != nil {
		return err
	}
	service := func(n, variant int) func(string) []member {
		return func(arch string) []member {
			shift := 0
			if arch == "arm64" {
				shift = 512 << 10
			}
			var out []member
			for i := range size {
				at := (((n*size + i) << 20) + shift) % (len(source) - 1<<20)
				body := source[at : at+1<<20]
				if variant > 1 && i == size/2 {
					body = append([]byte(fmt.Sprintf("variant %d of this file\n", variant)), body...)
				}
				out = append(out, member{fmt.Sprintf("usr/lib/m%02d-%02d", n, i), body})
			}
			return out
		}
	}
	for n := range services {
		if err := add(fmt.Sprintf("docker.io/bench/m%02d:1", n), service(n, 1)); err != nil {
			return err
		}
	}
	for v := range variants {
		if err := add(fmt.Sprintf("docker.io/bench/m05:%d", v+2), service(5, v+2)); err != nil {
			return err
		}
	}
	return nil
}

// writeYAML writes the build's YAML with the given tag for m05.
func writeYAML(file string, tag int) error {
	var b strings.Builder
	b.WriteString("kernel:\n  image: bench/kernel:1\n  cmdline: console=ttyS0\ninit:\n  - bench/init:1\nservices:\n")
	for n := range services {
		t := 1
		if n == 5 {
			t = tag
		}
		fmt.Fprintf(&b, "  - name: m%02d\n    image: bench/m%02d:%d\n", n, n, t)
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

func emptyTar() []byte {
	var b bytes.Buffer
	tar.NewWriter(&b).Close()
	return b.Bytes()
}

// writeLayout writes one image for amd64 and arm64 as an OCI layout in a tar.
func writeLayout(file, reference string, members func(arch string) []member) error {
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		image, err := makeImage(arch, members(arch))
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	tmp, err := os.MkdirTemp(filepath.Dir(file), "layout")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	path, err := layout.Write(tmp, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return err
	}
	names := layout.WithAnnotations(map[string]string{"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference})
	if err := path.AppendIndex(index, names); err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	tw := tar.NewWriter(out)
	if err := tw.AddFS(os.DirFS(tmp)); err != nil {
		return err
	}
	return tw.Close()
}

func makeImage(arch string, members []member) (v1.Image, error) {
	var raw bytes.Buffer
	tw := tar.NewWriter(&raw)
	for _, m := range members {
		header := &tar.Header{Name: m.name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(m.body)), ModTime: epoch}
		if err := tw.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := tw.Write(m.body); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw.Bytes())), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Created = arch, "linux", v1.Time{Time: epoch}
	config.Config = v1.Config{Cmd: []string{"/bin/init"}}
	return mutate.ConfigFile(image, config)
}
