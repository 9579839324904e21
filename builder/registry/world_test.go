package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kiln-farm/kiln/builder/registry/pull"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/internal/retry"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// world is a registry in memory, a client of it with an empty cache, and a place to meddle between the two.
type world struct {
	t     *testing.T
	host  string
	store *disk.Store
	*Registry
	handler http.Handler // the registry itself

	mu       sync.Mutex
	meddle   func(w http.ResponseWriter, r *http.Request) bool // true: it answered
	requests []string                                          // "GET /v2/lab/web/manifests/1"
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // no logins of whoever runs the test
	w := &world{t: t}
	w.handler = memory.New(memory.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.requests = append(w.requests, r.Method+" "+r.URL.Path)
		meddle := w.meddle
		w.mu.Unlock()
		if meddle == nil || !meddle(rw, r) {
			w.handler.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(server.Close)
	w.host = strings.TrimPrefix(server.URL, "http://")
	var err error
	w.store, err = disk.Open(t.TempDir())
	check(t, err)
	w.Registry, err = New(Config{Store: w.store, Blobs: w.store, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Pull: pull.Config{Retry: retry.Policy{First: time.Millisecond, Tries: 4}, Certs: []string{}}})
	check(t, err)
	return w
}

// set changes what happens on the way and forgets the requests so far.
func (w *world) set(meddle func(http.ResponseWriter, *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.meddle, w.requests = meddle, nil
}

// asked counts the requests whose text contains part.
func (w *world) asked(part string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		if strings.Contains(r, part) {
			n++
		}
	}
	return n
}

func (w *world) ref(path string) string { return w.host + "/" + path }

func (w *world) request(path string, platforms ...string) Request {
	return Request{References: []linuxkit.Reference{{Name: w.ref(path)}}, Platforms: platforms, Team: "default"}
}

// resolve is Resolve of one reference for one platform.
func (w *world) resolve(path, platform string) (*kilnv1.ResolvedImage, error) {
	lock, err := w.Resolve(context.Background(), w.request(path, platform))
	if err != nil {
		return nil, err
	}
	if len(lock.GetImages()) != 1 {
		w.t.Fatalf("got %d images, want 1", len(lock.GetImages()))
	}
	return lock.GetImages()[0], nil
}

// push publishes an image as an index, or as a manifest when there is one platform and single is set.
func (w *world) push(path string, index v1.ImageIndex) {
	w.t.Helper()
	ref, err := name.ParseReference(w.ref(path))
	check(w.t, err)
	check(w.t, remote.WriteIndex(ref, index))
}

func (w *world) pushImage(path string, image v1.Image) {
	w.t.Helper()
	ref, err := name.ParseReference(w.ref(path))
	check(w.t, err)
	check(w.t, remote.Write(ref, image))
}

// image is a small image for an architecture.
func image(t *testing.T, arch, text string) v1.Image {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	check(t, tw.WriteHeader(&tar.Header{Name: "bin/" + arch, Mode: 0o755, Size: int64(len(text))}))
	_, err := io.WriteString(tw, text)
	check(t, err)
	check(t, tw.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	check(t, err)
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layer)
	check(t, err)
	config, err := img.ConfigFile()
	check(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	img, err = mutate.ConfigFile(img, config)
	check(t, err)
	return img
}

func indexOf(t *testing.T, arches ...string) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range arches {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image(t, arch, "program for "+arch),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return index
}

// attested adds to an index an attestation of its first image, as BuildKit does.
func attested(t *testing.T, index v1.ImageIndex, document string) v1.ImageIndex {
	t.Helper()
	m, err := index.IndexManifest()
	check(t, err)
	statement := static.NewLayer([]byte(document), "application/vnd.in-toto+json")
	other := static.NewLayer([]byte("{}"), "application/vnd.in-toto+json")
	att, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		mutate.Addendum{Layer: statement, Annotations: map[string]string{"in-toto.io/predicate-type": "https://spdx.dev/Document"}},
		mutate.Addendum{Layer: other, Annotations: map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}})
	check(t, err)
	return mutate.AppendManifests(index, mutate.IndexAddendum{Add: att, Descriptor: v1.Descriptor{
		Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
		Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": m.Manifests[0].Digest.String()}}})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantSentence checks that err is one line with all the parts.
func wantSentence(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there was no error")
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want %q in it", err, part)
		}
	}
}

// quiet hears what is waited for.
func quiet(string) {}
