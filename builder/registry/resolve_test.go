package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const amd64, arm64 = "linux/amd64", "linux/arm64"

func TestResolvePicksThePlatform(t *testing.T) {
	w := newWorld(t)
	index := attested(t, indexOf(t, "amd64", "arm64"), `{"spdx":1}`)
	w.push("lab/web:1", index)
	m, err := index.IndexManifest()
	check(t, err)
	lock, err := w.Resolve(context.Background(), w.request("lab/web:1", amd64, arm64))
	check(t, err)
	for i, image := range lock.GetImages() {
		if got, want := image.GetManifest(), m.Manifests[i].Digest.String(); got != want {
			t.Errorf("%s: got manifest %s, want %s", image.GetPlatform(), got, want)
		}
		if len(image.GetLayers()) != 1 || image.GetIndex() == "" || image.GetResolvedUnixMs() == 0 {
			t.Errorf("%s: %v", image.GetPlatform(), image)
		}
		w.wantBlobs(image.GetManifest(), image.GetConfig(), image.GetIndex())
	}
	if got := len(lock.GetImages()[0].GetSboms()); got != 1 {
		t.Errorf("the attested image has %d SPDX documents, want 1", got)
	}
	if got := len(lock.GetImages()[1].GetSboms()); got != 0 {
		t.Errorf("the other has %d SPDX documents, want 0", got)
	}
}

func (w *world) wantBlobs(digests ...string) {
	w.t.Helper()
	for _, s := range digests {
		d, err := cache.ParseDigest(s)
		check(w.t, err)
		f, err := w.store.Open(context.Background(), d)
		check(w.t, err)
		f.Close()
	}
}

func TestResolveRefusesWithASentence(t *testing.T) {
	w := newWorld(t)
	w.push("lab/arm:1", indexOf(t, "arm64"))
	w.pushImage("lab/single:1", image(t, "amd64", "single"))
	w.push("lab/nameless:1", mutate.AppendManifests(indexOf(t), mutate.IndexAddendum{Add: image(t, "amd64", "x"), Descriptor: v1.Descriptor{Platform: &v1.Platform{}}}))
	cases := []struct {
		name, path, platform string
		want                 []string
	}{
		{"an image that is not there", "lab/nothing:1", amd64, []string{"lab/nothing:1", w.host, "check its name"}},
		{"an image without the platform names those it has", "lab/arm:1", amd64, []string{"lab/arm:1", "linux/amd64", "linux/arm64"}},
		{"a single manifest for another architecture", "lab/single:1", arm64, []string{"lab/single:1", "linux/arm64", "linux/amd64"}},
		{"a reference that is none", "lab/WEB:1", amd64, []string{"lab/WEB:1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.resolve(c.path, c.platform)
			wantSentence(t, err, c.want...)
			var failure *step.Failure
			if !errors.As(err, &failure) {
				t.Errorf("it is tried again: %v", err)
			}
		})
	}
	t.Run("an index entry without a platform does no harm", func(t *testing.T) {
		if _, err := w.resolve("lab/nameless:1", arm64); err == nil {
			t.Error("an image for arm64 was found")
		}
	})
	t.Run("a single manifest for the architecture is fine", func(t *testing.T) {
		_, err := w.resolve("lab/single:1", amd64)
		check(t, err)
	})
}

// A registry may call a manifest anything, or nothing (RFC 9110 §8.3.1): it says itself what it is.
func TestAManifestIsWhatItSays(t *testing.T) {
	w := newWorld(t)
	w.push("lab/web:1", indexOf(t, "amd64"))
	w.pushImage("lab/single:1", image(t, "amd64", "single"))
	for _, called := range []string{"", "application/json", "text/plain", "text/plain; charset=utf-8", "application/octet-stream", "*/*", ";",
		"application/vnd.oci.image.manifest.v1+json; charset=utf-8", "Application/vnd.OCI.image.manifest.v1+JSON",
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.docker.distribution.manifest.v1+prettyjws"} {
		for _, path := range []string{"lab/web:1", "lab/single:1"} {
			t.Run(called+" "+path, func(t *testing.T) {
				w.set(func(rw http.ResponseWriter, r *http.Request) bool {
					if strings.Contains(r.URL.Path, "/manifests/") {
						w.handler.ServeHTTP(calling{rw, called}, r)
						return true
					}
					return false
				})
				req := w.request(path, amd64)
				req.Pull = true
				_, err := w.Resolve(context.Background(), req)
				check(t, err)
			})
		}
	}
}

// calling answers with a type of its own.
type calling struct {
	http.ResponseWriter
	mediaType string
}

func (c calling) WriteHeader(code int) {
	c.Header()["Content-Type"] = []string{c.mediaType}
	c.ResponseWriter.WriteHeader(code)
}

func (c calling) Write(p []byte) (int, error) {
	c.Header()["Content-Type"] = []string{c.mediaType}
	return c.ResponseWriter.Write(p)
}

func TestWhatARegistrySaidIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.push("lab/web:1", indexOf(t, "amd64"))
	first, err := w.resolve("lab/web:1", amd64)
	check(t, err)
	w.push("lab/web:1", attested(t, indexOf(t, "amd64", "arm64"), "{}"))

	w.set(nil)
	again, err := w.resolve("lab/web:1", amd64)
	check(t, err)
	if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" || w.asked("") != 0 {
		t.Errorf("it was asked %d times again (-first +again):\n%s", w.asked(""), diff)
	}
	other := w.request("lab/web:1", amd64)
	other.Team = "another"
	if _, err := w.Resolve(context.Background(), other); err != nil || w.asked("manifests") == 0 {
		t.Errorf("another team was told what this team was: %v", err)
	}
	pull := w.request("lab/web:1", amd64)
	pull.Pull = true
	lock, err := w.Resolve(context.Background(), pull)
	check(t, err)
	if lock.GetImages()[0].GetIndex() == first.GetIndex() {
		t.Error("a pull gave what was remembered")
	}

	t.Run("but not without its config", func(t *testing.T) {
		d, err := cache.ParseDigest(first.GetConfig())
		check(t, err)
		check(t, w.store.Delete(context.Background(), cache.BlobKey(d)))
		_, err = w.resolve("lab/web:1", amd64)
		check(t, err)
		w.wantBlobs(first.GetConfig())
	})
}

func TestALockIsWhatIsUsed(t *testing.T) {
	w := newWorld(t)
	w.push("lab/web:1", indexOf(t, "amd64"))
	lock, err := w.Resolve(context.Background(), w.request("lab/web:1", amd64))
	check(t, err)
	w.push("lab/web:1", indexOf(t, "amd64", "arm64"))

	empty, err := disk.Open(t.TempDir())
	check(t, err)
	w.Registry, err = New(Config{Store: empty, Blobs: empty})
	check(t, err)
	w.store = empty
	req := w.request("lab/web:1", amd64)
	req.Locked = lock
	got, err := w.Resolve(context.Background(), req)
	check(t, err)
	if diff := cmp.Diff(lock, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-lock +got):\n%s", diff)
	}
	w.wantBlobs(got.GetImages()[0].GetManifest(), got.GetImages()[0].GetConfig())

	req.Platforms = []string{amd64, arm64}
	_, err = w.Resolve(context.Background(), req)
	wantSentence(t, err, "lab/web:1", "linux/arm64", "kiln lock")
}

func TestAnImageNamedHereWins(t *testing.T) {
	w := newWorld(t)
	w.push("lab/web:1", indexOf(t, "amd64"))
	first, err := w.resolve("lab/web:1", amd64)
	check(t, err)
	check(t, record.PutName(context.Background(), w.store, &kilnv1.Name{Reference: w.ref("lab/mine:latest"), Target: first.GetManifest(),
		MediaType: "application/vnd.oci.image.manifest.v1+json"}))
	w.set(nil)
	mine, err := w.resolve("lab/mine", amd64)
	check(t, err)
	if mine.GetManifest() != first.GetManifest() || mine.GetResolvedUnixMs() != 0 || w.asked("") != 0 {
		t.Errorf("got %v with %d requests", mine, w.asked(""))
	}
}

func TestRunMakesTheLock(t *testing.T) {
	w := newWorld(t)
	w.push("lab/kernel:1", indexOf(t, "amd64"))
	w.push("lab/init:1", indexOf(t, "amd64"))
	bundle := &kilnv1.ConfigBundle{Documents: []*kilnv1.Document{{Name: "a.yml",
		Yaml: fmt.Appendf(nil, "kernel:\n  image: %s\ninit:\n  - %s\n", w.ref("lab/kernel:1"), w.ref("lab/init:1"))}}}
	raw, err := proto.Marshal(bundle)
	check(t, err)
	config := w.put(raw)
	req := &step.Request{Kind: step.Resolve, Blobs: w.store, Log: func(string) {},
		Build: &kilnv1.BuildSpec{Team: "default", Platforms: []string{amd64}, Config: config.String()}}
	res, err := w.Run(context.Background(), req)
	check(t, err)
	again, err := w.Run(context.Background(), req)
	check(t, err)
	if res.Outputs[0].Name != "lock" || res.Outputs[0].Digest != again.Outputs[0].Digest {
		t.Errorf("got %v, then %v", res.Outputs, again.Outputs)
	}

	gone := cache.SumBytes([]byte("gone"))
	req.Build.Config = gone.String()
	_, err = w.Run(context.Background(), req)
	var missing *step.MissingBlob
	if !errors.As(err, &missing) || missing.Digest != gone {
		t.Errorf("without its configuration: %v", err)
	}
}

func (w *world) put(raw []byte) cache.Digest {
	w.t.Helper()
	draft, err := w.store.Create(context.Background())
	check(w.t, err)
	defer draft.Abort()
	_, err = draft.Write(raw)
	check(w.t, err)
	d, _, err := draft.Commit()
	check(w.t, err)
	return d
}

func TestAMirrorStandsForItsRegistry(t *testing.T) {
	w := newWorld(t)
	w.push("library/alpine:3", indexOf(t, "amd64"))
	req := Request{References: []linuxkit.Reference{{Name: "docker.io/library/alpine:3"}}, Platforms: []string{amd64}, Team: "default",
		Mirrors: map[string]string{"docker.io": "http://" + w.host}}
	lock, err := w.Resolve(context.Background(), req)
	check(t, err)
	image := lock.GetImages()[0]
	if image.GetReference() != "docker.io/library/alpine:3" {
		t.Errorf("the mirror shows in the lock: %v", image)
	}
	layer := image.GetLayers()[0]
	check(t, w.Fetch(context.Background(), &kilnv1.Source{Digest: layer.GetDigest(), Reference: image.GetReference(), Size: layer.GetSize()}, &kilnv1.BuildSpec{Mirrors: req.Mirrors}, quiet))
	w.wantBlobs(layer.GetDigest())
}

// needsLogin answers 401 to whoever does not say user:secret.
func needsLogin(rw http.ResponseWriter, r *http.Request) bool {
	if user, password, _ := r.BasicAuth(); user == "user" && password == "secret" {
		return false
	}
	rw.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
	http.Error(rw, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
	return true
}

func TestALoginOfDockerIsUsed(t *testing.T) {
	w := newWorld(t)
	w.push("lab/web:1", indexOf(t, "amd64"))
	w.set(needsLogin)
	_, err := w.resolve("lab/web:1", amd64)
	wantSentence(t, err, w.host, "docker login "+w.host)

	config := fmt.Sprintf(`{"auths":{%q:{"username":"user","password":"secret"}}}`, w.host)
	check(t, os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600))
	_, err = w.resolve("lab/web:1", amd64)
	check(t, err)
}

func TestAMomentOfTroubleIsWaitedOut(t *testing.T) {
	w := newWorld(t)
	w.push("lab/web:1", indexOf(t, "amd64"))
	var left atomic.Int32
	left.Store(3)
	w.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") || left.Add(-1) < 0 {
			return false
		}
		http.Error(rw, "a moment", http.StatusInternalServerError)
		return true
	})
	_, err := w.resolve("lab/web:1", amd64)
	check(t, err)
}

func TestTroubleThatStaysIsASentence(t *testing.T) {
	w := newWorld(t)
	w.push("lab/web:1", indexOf(t, "amd64"))
	w.set(func(rw http.ResponseWriter, r *http.Request) bool {
		http.Error(rw, "no", http.StatusServiceUnavailable)
		return true
	})
	_, err := w.resolve("lab/web:1", amd64)
	wantSentence(t, err, w.host, "503", "--mirror")
	var failure *step.Failure
	if errors.As(err, &failure) {
		t.Errorf("a registry's bad day was called the user's fault: %v", err)
	}
	if n := w.asked(""); n > 16 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestARegistryThatCannotBeReachedIsNamed(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	w.host = l.Addr().String()
	l.Close()
	_, err = w.resolve("lab/web:1", amd64)
	wantSentence(t, err, w.host, "cannot be reached", "refused", "--mirror")
}

func TestADialThatTimesOutIsExplained(t *testing.T) {
	dialer := net.Dialer{Deadline: time.Now().Add(-time.Second)}
	_, err := dialer.Dial("tcp", "127.0.0.1:1")
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the test is not about %v", err)
	}
	wantSentence(t, explain(err, "registry.example", subject{reference: "registry.example/a:1"}, time.Minute), "registry.example cannot be reached", "timeout")
}
