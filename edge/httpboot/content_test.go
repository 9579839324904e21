package httpboot

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/disk"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// counted is a store whose records somebody counts.
type counted struct {
	*disk.Store
	gets int
}

func (c *counted) Get(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	c.gets++
	return c.Store.Get(ctx, key, offset, n)
}

func TestWhatAFileIsMadeOfIsLookedUpOnce(t *testing.T) {
	f := newFixture(t, "")
	store := &counted{Store: f.store}
	_, handler := serveCache(store, f.store)
	get := func(d cache.Digest) (int, []byte) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/artifacts/"+d.String(), nil))
		return w.Code, w.Body.Bytes()
	}
	small := []byte("a small file")
	for _, c := range []struct {
		name string
		d    cache.Digest
		want []byte
	}{
		{"an artifact", f.digest, f.initrd},
		{"a small artifact", f.artifact(t, small, []artifact.Extent{{Inline: small, Length: int64(len(small))}}), small},
		{"a blob", f.blob(t, bytes.Repeat([]byte("b"), 100_000)), bytes.Repeat([]byte("b"), 100_000)},
		{"a small blob", f.blob(t, []byte("blob")), []byte("blob")},
		{"an empty blob", f.blob(t, nil), nil},
	} {
		store.gets = 0
		for range 5 {
			if code, body := get(c.d); code != http.StatusOK || !bytes.Equal(body, c.want) {
				t.Fatalf("%s: got %d and %d bytes, want %d", c.name, code, len(body), len(c.want))
			}
		}
		if store.gets != 1 {
			t.Errorf("%s: its record was looked up %d times, want once", c.name, store.gets)
		}
	}
}

func TestAnArtifactThatIsMadeOfOtherThingsNowIsServed(t *testing.T) {
	f := newFixture(t, "")
	data := bytes.Repeat([]byte("data "), 20_000)
	old := f.blob(t, append([]byte("head "), data...))
	d := f.artifact(t, data, []artifact.Extent{{Blob: old, Offset: 5, Length: int64(len(data))}})
	if resp, _ := f.get(t, "GET", "/artifacts/"+d.String()); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	if err := f.store.Delete(t.Context(), cache.BlobKey(old)); err != nil {
		t.Fatal(err)
	}
	f.blob(t, data)
	f.artifact(t, data, []artifact.Extent{{Blob: cache.SumBytes(data), Length: int64(len(data))}})
	if resp, body := f.get(t, "GET", "/artifacts/"+d.String()); resp.StatusCode != http.StatusOK || !bytes.Equal(body, data) {
		t.Errorf("got %s and %d bytes, want those of the new description", resp.Status, len(body))
	}
	if err := f.store.Delete(t.Context(), cache.BlobKey(cache.SumBytes(data))); err != nil {
		t.Fatal(err)
	}
	if resp, _ := f.get(t, "GET", "/artifacts/"+d.String()); resp.StatusCode != http.StatusNotFound {
		t.Errorf("of a file whose bytes are gone: %s, want 404", resp.Status)
	}
}

func TestADescriptionIsNotTakenForWhatItDescribes(t *testing.T) {
	f := newFixture(t, "")
	s, handler := serveCache(f.store, f.store)
	text, err := artifact.Encode(&artifact.Artifact{Digest: f.digest, Size: 3, Extents: []artifact.Extent{{Length: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	ref := &kilnv1.FileRef{Digest: f.digest.String(), Size: 3, Artifact: f.blob(t, text).String()}
	for range 2 {
		if a, err := s.Files.Release(t.Context(), ref); err != nil || a.Digest != f.digest {
			t.Fatalf("got %+v, %v", a, err)
		}
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/artifacts/"+ref.GetArtifact(), nil))
	if !bytes.Equal(w.Body.Bytes(), text) {
		t.Errorf("the description's own bytes are %q, want %q", w.Body.Bytes(), text)
	}
}
