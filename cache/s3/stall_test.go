package s3_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/s3"
	"github.com/kiln-farm/kiln/cache/s3test"
)

// A server that begins to answer and goes silent does not hold up whoever lists.
func TestAListingThatStallsGoesOn(t *testing.T) {
	s := s3test.New(t)
	direct := openS3(t, s, "", "")
	var want []string
	for _, name := range []string{"a", "b", "c"} {
		key := cache.BootKey(name)
		value := []byte("value of " + name)
		if err := direct.Put(t.Context(), key, bytes.NewReader(value), int64(len(value)), cache.Replace); err != nil {
			t.Fatal(err)
		}
		want = append(want, key.String())
	}
	var listings atomic.Int32
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: s.Address})
		r.Out.Host = r.In.Host // which is signed
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("list-type") && r.URL.Query().Get("max-keys") != "1" && listings.Add(1) == 1 {
			_, _ = io.WriteString(w, "<ListBucketResult>")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		forward.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	c, err := s.Config("", proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c.Stall = 200 * time.Millisecond
	store, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := store.List(t.Context(), cache.BootPrefix, func(e cache.Entry) error {
		got = append(got, e.Key.String())
		time.Sleep(2 * c.Stall) // a caller that takes its time is no stall
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) || listings.Load() < 2 {
		t.Errorf("listed %q after %d listings, want %q", got, listings.Load(), want)
	}
}
