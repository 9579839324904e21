package edge

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/edge/edgetest"
	"github.com/kiln-farm/kiln/edge/intent"
)

// newEdge is an edge over what a room has.
func newEdge(t testing.TB) (*edgetest.Room, *Edge) {
	t.Helper()
	r := edgetest.New(t)
	e, err := New(Config{Store: r.Store, Blobs: r.Store, Log: edgetest.Quiet, Intents: r.Intents, Events: r.Events, URL: r.URL})
	if err != nil {
		t.Fatal(err)
	}
	return r, e
}

// sendfileSpy is a connection's writer that tells how many bytes it was given an *os.File to read from.
type sendfileSpy struct {
	http.ResponseWriter
	bytes int64
}

func (s *sendfileSpy) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			s.bytes += l.N
		}
	}
	return io.Copy(io.Discard, r)
}

func TestBlobsGoToTheSocketAsFiles(t *testing.T) {
	r, e := newEdge(t)
	first, second := bytes.Repeat([]byte("first "), 50_000), bytes.Repeat([]byte("second "), 20_000)
	whole := bytes.Join([][]byte{first[6:], make([]byte, 100), []byte("inline"), second}, nil)
	d := cache.SumBytes(whole)
	if err := artifact.Put(t.Context(), r.Store, &artifact.Artifact{Digest: d, Size: int64(len(whole)), Extents: []artifact.Extent{
		{Blob: r.Blob(t, first), Offset: 6, Length: int64(len(first) - 6)}, {Length: 100}, {Inline: []byte("inline"), Length: 6}, {Blob: r.Blob(t, second), Length: int64(len(second))},
	}}); err != nil {
		t.Fatal(err)
	}
	spy := &sendfileSpy{ResponseWriter: httptest.NewRecorder()}
	e.Handler().ServeHTTP(spy, httptest.NewRequest("GET", "/artifacts/"+d.String(), nil))
	if want := int64(len(whole) - 100 - len("inline")); spy.bytes != want { // two blobs, in more than one turn
		t.Errorf("%d bytes were handed over as files, want %d", spy.bytes, want)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	_, e := newEdge(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, l) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// After a power cut the farm may be the last to come back.
func TestAnEdgeThatStartsAnewKnowsTheOthers(t *testing.T) {
	r, e := newEdge(t)
	e.SetOthers([]string{"http://10.0.0.2:7380"})
	intents, err := intent.Open(r.Path, edgetest.Quiet)
	if err != nil {
		t.Fatal(err)
	}
	again, err := New(Config{Store: r.Store, Blobs: r.Store, Log: edgetest.Quiet, Intents: intents, URL: r.URL})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.Machines().Edges(), []string{"http://10.0.0.1:7380", "http://10.0.0.2:7380"}; !slices.Equal(got, want) {
		t.Errorf("after a restart scripts name %q, want %q", got, want)
	}
}

// ask is a request at an address that programs made for clouds ask.
func ask(t *testing.T, at, method, path string, header map[string]string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, at+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// At the metadata address EC2's tree begins where people are shown a page elsewhere, and what is optional and absent is no event.
func TestTheMetadataAddress(t *testing.T) {
	r, e := newEdge(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- e.ServeMetadata(ctx, l) }()
	defer func() { stop(); <-served }()
	at := "http://" + l.Addr().String()
	token, _, err := e.Machines().Token(netip.Addr{}, must(r.Intents.Index().Named("web")))
	if err != nil {
		t.Fatal(err)
	}
	mine := "/m/" + token
	for _, c := range []struct {
		method, path string
		header       map[string]string
		status       int
		want         string
	}{
		{"GET", "/", nil, 403, "is of no machine that is booting here"}, // this test has no machine's address
		{"GET", mine + "/", nil, 200, "2009-04-04\n"},
		{"GET", mine + "/latest/meta-data/hostname", nil, 200, "web"},
		{"GET", mine + "/nocloud/vendor-data", nil, 200, ""},
		{"GET", mine + "/latest/meta-data/public-ipv4", nil, 404, "for this machine"},
		{"PUT", mine + "/latest/api/token", map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": "60"}, 200, ""},
		{"PUT", "/latest/api/token", map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": "60"}, 403, "is of no machine that is booting here"},
		{"GET", "/healthz", nil, 200, "ok"},
		{"GET", "/nothing", nil, 404, ""},
	} {
		if status, body := ask(t, at, c.method, c.path, c.header); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %q, want %d and %q", c.method, c.path, status, body, c.status, c.want)
		}
	}
	var told []string
	for _, e := range r.Happened() {
		told = append(told, e.GetDetail())
	}
	if got, want := strings.Join(told, ", "), "/, /latest/meta-data/hostname"; got != want {
		t.Errorf("the timeline has %q, want %q", got, want)
	}
	r.Handler = e.Handler()
	if w := r.Get("/", "10.0.0.21"); !strings.Contains(w.Body.String(), "<html") {
		t.Errorf("elsewhere there is no page but %q", w.Body)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
