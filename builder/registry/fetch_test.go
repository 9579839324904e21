package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// pushed is an image in the registry with the source of its one layer.
func pushed(t *testing.T) (*world, *kilnv1.Source) {
	w := newWorld(t)
	w.push("lab/web:1", indexOf(t, "amd64"))
	image, err := w.resolve("lab/web:1", amd64)
	check(t, err)
	w.set(nil)
	layer := image.GetLayers()[0]
	return w, &kilnv1.Source{Digest: layer.GetDigest(), Reference: w.ref("lab/web:1"), Size: layer.GetSize()}
}

// wantNothing checks that no blob was kept.
func (w *world) wantNothing(source *kilnv1.Source) {
	w.t.Helper()
	d, err := cache.ParseDigest(source.GetDigest())
	check(w.t, err)
	if f, err := w.store.Open(context.Background(), d); err == nil {
		f.Close()
		w.t.Error("a blob was kept")
	}
}

func TestALayerThatIsNotItsDigestIsRefused(t *testing.T) {
	w, source := pushed(t)
	w.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		rw.Header().Set("Content-Length", fmt.Sprint(source.GetSize()))
		rw.Write(make([]byte, source.GetSize()))
		return true
	})
	err := w.Fetch(context.Background(), source, nil, quiet)
	wantSentence(t, err, w.host, "digest", "lab/web:1")
	var failure *step.Failure
	if !errors.As(err, &failure) {
		t.Errorf("it is tried again: %v", err)
	}
	w.wantNothing(source)
}

func TestAManifestThatIsNotItsDigestIsRefused(t *testing.T) {
	w := newWorld(t)
	index := indexOf(t, "amd64")
	w.push("lab/web:1", index)
	m, err := index.IndexManifest()
	check(t, err)
	w.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/manifests/"+m.Manifests[0].Digest.String()) {
			return false
		}
		rw.Header().Set("Content-Type", string(m.Manifests[0].MediaType))
		rw.Write([]byte(`{"schemaVersion":2,"layers":[]}`))
		return true
	})
	_, err = w.resolve("lab/web:1", amd64)
	wantSentence(t, err, w.host, "digest", "lab/web:1")
}

func TestALayerThatEndsEarlyIsFetchedAgain(t *testing.T) {
	w, source := pushed(t)
	var first atomic.Bool
	w.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") || first.Swap(true) {
			return false
		}
		rw.Header().Set("Content-Length", fmt.Sprint(source.GetSize()))
		rw.Write([]byte("half"))
		panic(http.ErrAbortHandler) // cuts the connection
	})
	check(t, w.Fetch(context.Background(), source, nil, quiet))
	w.wantBlobs(source.GetDigest())
}

func TestAFetchEndsWithItsContext(t *testing.T) {
	w, source := pushed(t)
	ctx, cancel := context.WithCancel(context.Background())
	w.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		cancel()
		<-r.Context().Done()
		return true
	})
	if err := w.Fetch(ctx, source, nil, quiet); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
	w.wantNothing(source)
}

func TestFetchesOfOneBlobAreOne(t *testing.T) {
	w, source := pushed(t)
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	w.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			arrived <- struct{}{}
			<-release
		}
		return false
	})
	errs := make(chan error)
	for range 4 {
		go func() { errs <- w.Fetch(context.Background(), source, nil, quiet) }()
	}
	<-arrived
	close(release)
	for range 4 {
		check(t, <-errs)
	}
	check(t, w.Fetch(context.Background(), source, nil, quiet)) // it is there
	if n := w.asked("GET /v2/lab/web/blobs/" + source.GetDigest()); n != 1 {
		t.Errorf("it was fetched %d times", n)
	}
}

func TestAFetchThatOneCallerGivesUpGoesOnForTheOthers(t *testing.T) {
	w, source := pushed(t)
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	w.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			arrived <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		return false
	})
	ctx, cancel := context.WithCancel(context.Background())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- w.Fetch(ctx, source, nil, quiet) }()
	<-arrived
	go func() { second <- w.Fetch(context.Background(), source, nil, quiet) }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first got %v", err)
	}
	close(release)
	check(t, <-second)
	w.wantBlobs(source.GetDigest())
}
