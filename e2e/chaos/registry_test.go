package chaos

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Sizes of what images hold, in bytes. Layers are small, so that there are many steps and not few long ones.
const (
	kernelSize  = 600 << 10
	sharedSize  = 300 << 10
	serviceSize = 200 << 10
	freshSize   = 2 << 20
)

const services = 8

var made = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// images is a registry with a kernel, an init, services that share a layer, and more services on demand.
type images struct {
	URL    string
	server *http.Server
	shared v1.Layer
}

// serveImages starts a registry at host.
func serveImages(host string) (*images, error) {
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		return nil, err
	}
	i := &images{
		URL:    "http://" + listener.Addr().String(),
		server: &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0))), ReadHeaderTimeout: time.Minute},
	}
	go func() { _ = i.server.Serve(listener) }() // it only ever ends with Close
	if i.shared, err = layerOf(map[string][]byte{"usr/lib/libshared.so": noise("shared", sharedSize)}); err != nil {
		return nil, err
	}
	modules, err := tarOf(map[string][]byte{"lib/modules/6.1/a.ko": noise("module", 4<<10)})
	if err == nil {
		err = i.push("lab/kernel:1", map[string][]byte{"kernel": noise("kernel", kernelSize), "kernel.tar": modules})
	}
	if err == nil {
		err = i.push("lab/init:1", map[string][]byte{"init": noise("init", 20<<10), "etc/hostname": []byte("lab\n")})
	}
	for n := range services {
		if err == nil {
			err = i.push(fmt.Sprintf("lab/service%d:1", n), map[string][]byte{"bin/serve": noise(fmt.Sprint("service", n), serviceSize)}, i.shared)
		}
	}
	return i, err
}

func (i *images) Close() error { return i.server.Close() }

// fresh adds a service that nobody has built before.
func (i *images) fresh(n int, seed uint64) (string, error) {
	reference := fmt.Sprintf("lab/fresh%d:1", n)
	return reference, i.push(reference, map[string][]byte{"bin/fresh": noise(fmt.Sprintf("fresh %d of %d", n, seed), freshSize)}, i.shared)
}

func (i *images) push(reference string, files map[string][]byte, below ...v1.Layer) error {
	layer, err := layerOf(files)
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), append(below, layer)...)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", "amd64", v1.Time{Time: made}
	config.Config = v1.Config{Cmd: []string{"/bin/serve"}}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return err
	}
	ref, err := name.ParseReference(strings.TrimPrefix(i.URL, "http://")+"/"+reference, name.Insecure)
	if err != nil {
		return err
	}
	return remote.Write(ref, image)
}

func layerOf(files map[string][]byte) (v1.Layer, error) {
	data, err := tarOf(files)
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, tarball.WithMediaType(types.OCILayer))
}

func tarOf(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, body := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(body)), ModTime: made}); err != nil {
			return nil, err
		}
		if _, err := w.Write(body); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// noise is bytes that follow from a name; half of them can be compressed, like those of programs.
func noise(name string, size int) []byte {
	var seed [32]byte
	copy(seed[:], name)
	random := rand.NewChaCha8(seed)
	data := make([]byte, size)
	for at := 0; at < size; at += 256 {
		_, _ = random.Read(data[at:min(at+128, size)]) // it never fails
	}
	return data
}

// yamlOf is the YAML of one build: what its random numbers choose of the services, in their order, a fresh service when
// there is one, and a file with the build's own text.
func yamlOf(random *rand.Rand, fresh, text string) string {
	var b strings.Builder
	b.WriteString("kernel:\n  image: lab/kernel:1\n  cmdline: console=ttyS0\ninit:\n  - lab/init:1\nservices:\n")
	for n := range services {
		if random.IntN(2) == 0 || n == 0 {
			fmt.Fprintf(&b, "  - name: service%d\n    image: lab/service%d:1\n", n, n)
		}
	}
	if fresh != "" {
		fmt.Fprintf(&b, "  - name: fresh\n    image: %s\n    command: [\"/bin/fresh\"]\n", fresh)
	}
	fmt.Fprintf(&b, "files:\n  - path: etc/build\n    contents: %q\n    mode: \"0644\"\n", text)
	return b.String()
}
