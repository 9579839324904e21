package edge

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/kiln-farm/kiln/cache/artifact"
)

// nowhere is a client that takes everything.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}

// BenchmarkSmallFile is what a file of 4 KiB costs without the connection.
func BenchmarkSmallFile(b *testing.B) {
	f := newFixture(b, "")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	e, err := New(Config{Store: f.store, Blobs: f.store, Log: slog.New(slog.NewTextHandler(null, nil))})
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte("small "), 4096/6)
	d := f.artifact(b, data, []artifact.Extent{{Blob: f.blob(b, data), Length: int64(len(data))}})
	request := httptest.NewRequestWithContext(context.Background(), "GET", "/artifacts/"+d.String(), nil)
	b.ReportAllocs()
	for b.Loop() {
		e.Handler().ServeHTTP(nowhere{http.Header{}}, request)
	}
}
