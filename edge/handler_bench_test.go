package edge

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/edge/edgetest"
)

// nowhere is a client that takes everything.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}

// BenchmarkSmallFile is what a file of 4 KiB costs without the connection.
func BenchmarkSmallFile(b *testing.B) {
	r := edgetest.New(b)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	e, err := New(Config{Store: r.Store, Blobs: r.Store, Log: slog.New(slog.NewTextHandler(null, nil))})
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte("small "), 4096/6)
	d := cache.SumBytes(data)
	if err := artifact.Put(b.Context(), r.Store, &artifact.Artifact{Digest: d, Size: int64(len(data)), Extents: []artifact.Extent{{Blob: r.Blob(b, data), Length: int64(len(data))}}}); err != nil {
		b.Fatal(err)
	}
	request := httptest.NewRequestWithContext(context.Background(), "GET", "/artifacts/"+d.String(), nil)
	b.ReportAllocs()
	for b.Loop() {
		e.Handler().ServeHTTP(nowhere{http.Header{}}, request)
	}
}
