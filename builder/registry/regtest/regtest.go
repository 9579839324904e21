// Package regtest is a registry for tests that has good and bad days.
//
// A Registry serves one image, in whatever repository and under whatever tag it is asked for, as a registry of the OCI
// distribution-spec should. A Manner comes before that and answers otherwise: late, wrongly, half, or with conditions. The manners
// are those that public registries, their proxies and their storage were seen with. It remembers what it was asked.
//
// It is no registry to push to, and never part of a program.
package regtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Media types that the image has.
const (
	ManifestType = "application/vnd.oci.image.manifest.v1+json"
	IndexType    = "application/vnd.oci.image.index.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// Kinds of requests.
const (
	Ping      = "ping"      // /v2/
	Token     = "token"     // /token, the token service
	Manifests = "manifests" // /v2/NAME/manifests/REFERENCE
	Blobs     = "blobs"     // /v2/NAME/blobs/DIGEST
	Storage   = "storage"   // /storage/DIGEST, where a manner may send readers on to
	Other     = "other"
)

// Ask is a request.
type Ask struct {
	*http.Request
	Kind string
	Ref  string // tag or digest
	N    int    // how many were there for the same thing, this one included
	Body []byte // what there is under Ref; nil for nothing
}

// A Manner answers a request, or does not: false.
type Manner func(w http.ResponseWriter, a *Ask) bool

// Registry is a server on loopback.
type Registry struct {
	URL, Host string // "http://127.0.0.1:1", "127.0.0.1:1"
	Image     Image

	server *httptest.Server
	ended  chan struct{}

	mu      sync.Mutex
	manners []Manner
	asks    []string
	counts  map[string]int
	blobs   map[string][]byte
	tagged  []byte
}

// Image is what the registry serves.
type Image struct {
	Manifest string // digest of the manifest
	Config   string // digest
	Layer    string // digest of the one layer
	Size     int64  // of the layer, in bytes
}

// New starts a registry whose image has one layer of about so many bytes, with the manners that are asked in turn. It ends with the test.
func New(t testing.TB, size int, manners ...Manner) *Registry {
	t.Helper()
	r := &Registry{manners: manners, ended: make(chan struct{}), counts: map[string]int{}, blobs: map[string][]byte{}}
	r.make(t, size)
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(func() {
		close(r.ended)
		r.server.CloseClientConnections()
		r.server.Close()
	})
	r.URL = r.server.URL
	r.Host = strings.TrimPrefix(r.URL, "http://")
	return r
}

// NewTLS is New over TLS, with a certificate that nobody trusts; change may ask for client certificates.
func NewTLS(t testing.TB, size int, change func(*httptest.Server), manners ...Manner) *Registry {
	t.Helper()
	r := &Registry{manners: manners, ended: make(chan struct{}), counts: map[string]int{}, blobs: map[string][]byte{}}
	r.make(t, size)
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.server.EnableHTTP2 = true
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if change != nil {
		change(r.server)
	}
	r.server.StartTLS()
	t.Cleanup(func() {
		close(r.ended)
		r.server.CloseClientConnections()
		r.server.Close()
	})
	r.URL = r.server.URL
	r.Host = strings.TrimPrefix(r.URL, "https://")
	return r
}

// Server is the server below.
func (r *Registry) Server() *httptest.Server { return r.server }

// make makes the image.
func (r *Registry) make(t testing.TB, size int) {
	t.Helper()
	noise := make([]byte, size)
	rand.New(rand.NewSource(1)).Read(noise)
	var plain, layer bytes.Buffer
	tw := tar.NewWriter(&plain)
	for name, data := range map[string][]byte{"noise": noise} {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(1600000000, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	zw := gzip.NewWriter(&layer)
	if _, err := zw.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	config := encode(t, map[string]any{"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"/x"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(plain.Bytes())}}})
	r.Image = Image{Config: r.Put(config), Layer: r.Put(layer.Bytes()), Size: int64(layer.Len())}
	r.tagged = encode(t, map[string]any{"schemaVersion": 2, "mediaType": ManifestType,
		"config": map[string]any{"mediaType": configType, "digest": r.Image.Config, "size": len(config)},
		"layers": []any{map[string]any{"mediaType": layerType, "digest": r.Image.Layer, "size": layer.Len()}}})
	r.Image.Manifest = r.Put(r.tagged)
}

// Put adds a blob or a manifest and returns its digest.
func (r *Registry) Put(data []byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := digest(data)
	r.blobs[d] = data
	return d
}

// Tag makes data what every tag means.
func (r *Registry) Tag(data []byte) {
	r.Put(data)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tagged = data
}

// Tagged is what every tag means.
func (r *Registry) Tagged() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tagged
}

// Behave puts other manners in the place of the ones before, and forgets what was asked.
func (r *Registry) Behave(manners ...Manner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manners, r.asks, r.counts = manners, nil, map[string]int{}
}

// Asked counts the requests that contain part: they look like "GET manifests 1 Range=bytes=5-".
func (r *Registry) Asked(part string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.asks {
		if strings.Contains(a, part) {
			n++
		}
	}
	return n
}

// Asks are all requests, in their order.
func (r *Registry) Asks() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.asks...)
}

// Ended is closed when the registry ends: for manners that hang.
func (r *Registry) Ended() <-chan struct{} { return r.ended }

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	a := &Ask{Request: req, Kind: Other}
	parts := strings.Split(req.URL.Path, "/")
	switch {
	case req.URL.Path == "/v2/":
		a.Kind = Ping
	case req.URL.Path == "/token":
		a.Kind = Token
	case strings.HasPrefix(req.URL.Path, "/storage/"):
		a.Kind, a.Ref = Storage, parts[len(parts)-1]
	case len(parts) > 4 && parts[1] == "v2":
		a.Kind, a.Ref = parts[len(parts)-2], parts[len(parts)-1]
	}
	r.mu.Lock()
	line := req.Method + " " + a.Kind + " " + a.Ref
	if part := req.Header.Get("Range"); part != "" {
		line += " Range=" + part
	}
	if login := req.Header.Get("Authorization"); login != "" {
		line += " Authorization=" + login
	}
	r.asks = append(r.asks, line)
	r.counts[a.Kind+a.Ref]++
	a.N = r.counts[a.Kind+a.Ref]
	if a.Body = r.blobs[a.Ref]; a.Kind == Manifests && !strings.HasPrefix(a.Ref, "sha256:") {
		a.Body = r.tagged
	}
	manners := r.manners
	r.mu.Unlock()
	for _, manner := range manners {
		if manner(w, a) {
			return
		}
	}
	switch a.Kind {
	case Ping:
		w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
		fmt.Fprint(w, "{}")
	case Token:
		fmt.Fprint(w, `{"token":"anybody"}`)
	case Manifests:
		if a.Body == nil {
			Refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
			return
		}
		w.Header().Set("Content-Type", typeOf(a.Body))
		w.Header().Set("Docker-Content-Digest", digest(a.Body))
		w.Write(a.Body)
	case Blobs, Storage:
		if a.Body == nil {
			Refuse(w, http.StatusNotFound, "BLOB_UNKNOWN")
			return
		}
		Part(w, a, -1)
	default:
		Refuse(w, http.StatusNotFound, "UNSUPPORTED")
	}
}

func typeOf(manifest []byte) string {
	var m struct{ MediaType string }
	_ = json.Unmarshal(manifest, &m)
	return m.MediaType
}

// Refuse answers with a status and a code of the distribution-spec.
func Refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"the message of %s"}]}`, code, code)
}

// Part answers with the part of a blob that is asked for, and sends no more than so many bytes of it before it breaks off (-1: all). It
// returns whether all was sent.
func Part(w http.ResponseWriter, a *Ask, most int) bool {
	body, status := a.Body, http.StatusOK
	if first, ok := strings.CutPrefix(a.Header.Get("Range"), "bytes="); ok {
		if at, err := strconv.Atoi(strings.TrimSuffix(first, "-")); err == nil && at < len(body) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, len(body)-1, len(body)))
			body, status = body[at:], http.StatusPartialContent
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if most < 0 || most >= len(body) {
		w.Write(body)
		return true
	}
	w.Write(body[:most])
	_ = http.NewResponseController(w).Flush()
	return false
}
