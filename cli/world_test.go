package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kiln-farm/kiln/cli/ui"
)

// world is a registry with a few small images, an empty cache and an empty directory to work in.
type world struct {
	t        *testing.T
	dir      string // the working directory
	registry string // URL
	vars     map[string]string

	mu     sync.Mutex
	tamper func(w http.ResponseWriter, r *http.Request, next http.Handler) bool // true: it answered
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), vars: map[string]string{}}
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		tamper := w.tamper
		w.mu.Unlock()
		if tamper == nil || !tamper(rw, r, handler) {
			handler.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(server.Close)
	w.registry = server.URL
	t.Chdir(w.dir)
	w.push("lab/kernel:1", "amd64", map[string]string{"kernel": "the kernel for amd64", "kernel.tar": string(tarOf(t, map[string]string{"lib/modules/a.ko": "module"}))})
	w.push("lab/kernel:1", "arm64", map[string]string{"kernel": "the kernel for arm64", "kernel.tar": string(tarOf(t, map[string]string{"lib/modules/a.ko": "module"}))})
	for _, arch := range []string{"amd64", "arm64"} {
		w.push("lab/init:1", arch, map[string]string{"init": "init for " + arch})
		w.push("lab/web:1", arch, map[string]string{"bin/web": strings.Repeat("web for "+arch+"\n", 20000)})
	}
	w.push("lab/only-arm64:1", "arm64", map[string]string{"bin/x": "x"})
	w.write("hello.yml", helloYAML)
	return w
}

const helloYAML = `kernel:
  image: lab/kernel:1
  cmdline: console=ttyS0
init:
  - lab/init:1
services:
  - name: web
    image: lab/web:1
    command: ["/bin/web"]
`

// push adds an image for an architecture to the index of a reference.
func (w *world) push(reference, arch string, files map[string]string) {
	w.t.Helper()
	w.pushFor(reference, v1.Platform{OS: "linux", Architecture: arch}, files)
}

// pushVariant adds an image for a variant of amd64 to the index of a reference.
func (w *world) pushVariant(reference, variant string, files map[string]string) {
	w.t.Helper()
	w.pushFor(reference, v1.Platform{OS: "linux", Architecture: "amd64", Variant: variant}, files)
}

func (w *world) pushFor(reference string, platform v1.Platform, files map[string]string) {
	w.t.Helper()
	text := tarOf(w.t, files)
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil })
	check(w.t, err)
	img, err := mutate.AppendLayers(empty.Image, layer)
	check(w.t, err)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: platform.Architecture, RootFS: must(img.ConfigFile()).RootFS})
	check(w.t, err)
	img = mutate.MediaType(img, types.OCIManifestSchema1)
	ref, err := name.ParseReference(strings.TrimPrefix(w.registry, "http://")+"/"+reference, name.Insecure)
	check(w.t, err)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	if old, err := remote.Index(ref); err == nil {
		index = old
	}
	index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img,
		Descriptor: v1.Descriptor{Platform: &platform}})
	check(w.t, remote.WriteIndex(ref, index))
}

func (w *world) setTamper(f func(w http.ResponseWriter, r *http.Request, next http.Handler) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tamper = f
}

// write makes a file in the working directory.
func (w *world) write(path, text string) {
	w.t.Helper()
	check(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(w.t, os.WriteFile(path, []byte(text), 0o644))
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// run runs kiln with args. Cache and mirror are the world's.
func (w *world) run(args ...string) result { return w.runContext(w.t.Context(), args...) }

func (w *world) runContext(ctx context.Context, args ...string) result {
	w.t.Helper()
	var stdout bytes.Buffer
	stderr := &lines{ready: make(chan string, 8)} // raft still says something when it has ended
	env := ui.Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: stderr, Getenv: func(name string) string {
		switch name {
		case "HOME":
			return w.dir
		}
		return w.vars[name]
	}}
	code := Main(ctx, env, args)
	return result{code, stdout.String(), stderr.text()}
}

// build runs kiln build with the world's registry as the mirror of the default one.
func (w *world) build(args ...string) result {
	w.t.Helper()
	return w.run(append([]string{"build", "--arch", "amd64", "--mirror", "docker.io=" + w.registry}, args...)...)
}

func (r result) ok(t *testing.T) result {
	t.Helper()
	if r.code != ui.ExitDone {
		t.Fatalf("exit code %d, want 0; standard error:\n%s", r.code, r.stderr)
	}
	return r
}

// last is the last line of standard error, which is the message of a command that failed.
func (r result) last() string {
	lines := strings.Split(strings.TrimRight(r.stderr, "\n"), "\n")
	return lines[len(lines)-1]
}

func tarOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for path, text := range files {
		check(t, w.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(text))
		check(t, err)
	}
	check(t, w.Close())
	return b.Bytes()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// names lists the files below dir.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, rel)
		}
		return err
	}))
	return out
}
