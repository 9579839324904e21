package client

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// shop is a coordinator whose shared store a client may read itself.
type shop struct {
	*coordinator
	blobs map[string][]byte // by digest
	store *httptest.Server
}

func (s *shop) keep(b []byte) cache.Digest {
	d := cache.SumBytes(b)
	s.blobs[d.String()] = b
	return d
}

func newShop(t *testing.T, answer func(s *shop, w http.ResponseWriter, r *http.Request)) *shop {
	t.Helper()
	s := &shop{coordinator: startCoordinator(t), blobs: map[string][]byte{}}
	s.store = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.count("store")
		answer(s, w, r)
	}))
	t.Cleanup(s.store.Close)
	s.blob = func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.blobs[path.Base(r.URL.Path)]))
	}
	s.urls = func(digests []string) map[string]string {
		urls := map[string]string{}
		for _, d := range digests {
			urls[d] = s.store.URL + "/" + d
		}
		return urls
	}
	return s
}

func (c *coordinator) BlobURLs(_ context.Context, req *connect.Request[kilnv1.BlobURLsRequest]) (*connect.Response[kilnv1.BlobURLsResponse], error) {
	return connect.NewResponse(&kilnv1.BlobURLsResponse{Urls: c.urls(req.Msg.GetDigests()), ValidMs: time.Hour.Milliseconds()}), nil
}

func TestBytesComeFromTheStoreAndElseFromTheFarm(t *testing.T) {
	good := func(s *shop, w http.ResponseWriter, r *http.Request) { _, _ = w.Write(s.blobs[path.Base(r.URL.Path)]) }
	for _, c := range []struct {
		name        string
		answer      func(s *shop, w http.ResponseWriter, r *http.Request)
		store, farm bool // who is asked for the content
		mismatch    bool // of the first try
	}{
		{"a store that answers", good, true, false, false},
		{"a store that refuses", func(_ *shop, w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, true, true, false},
		{"a store that breaks off", func(s *shop, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(s.blobs[path.Base(r.URL.Path)][:500])
			panic(http.ErrAbortHandler)
		}, true, true, false},
		{"a store that lies", func(s *shop, w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(bytes.ToUpper(s.blobs[path.Base(r.URL.Path)]))
		}, true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop(t, c.answer)
			content := bytes.Repeat([]byte("content "), 12500)
			blob := s.keep(content)
			whole := &artifact.Artifact{Extents: []artifact.Extent{{Blob: blob, Offset: 8, Length: int64(len(content)) - 8}}}
			whole.Size, whole.Digest = int64(len(content))-8, cache.SumBytes(content[8:])
			description := s.keep(must(artifact.Encode(whole)))
			f := dial(t, 5*time.Second, s.url)
			var got bytes.Buffer
			err := f.Blobs.WriteArtifact(t.Context(), description, whole.Digest, &got)
			if c.mismatch {
				if !errors.Is(err, cache.ErrMismatch) {
					t.Fatalf("error %v, want %v", err, cache.ErrMismatch)
				}
				got.Reset()
				err = f.Blobs.WriteArtifact(t.Context(), description, whole.Digest, &got)
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), content[8:]) {
				t.Error("the bytes differ")
			}
			farm := s.called("blob") > 1 // the description always comes from there
			if c.mismatch {
				farm = s.called("blob") > 2
			}
			if store := s.called("store") > 0; store != c.store || farm != c.farm {
				t.Errorf("the store was asked: %v, the farm: %v; want %v and %v", store, farm, c.store, c.farm)
			}
		})
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
