package httpboot

import (
	"net/http"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/content"
	"github.com/kiln-farm/kiln/edge/edgetest"
	"github.com/kiln-farm/kiln/edge/fair"
	"github.com/kiln-farm/kiln/edge/transfer"
)

var quiet = edgetest.Quiet

const (
	known    = edgetest.Known
	onDisk   = edgetest.OnDisk
	stranger = edgetest.Stranger
)

// roomOf is what an edge knows, and its answers over HTTP.
type roomOf struct {
	*edgetest.Room
	server *Server
}

func newRoomOf(t *testing.T, change ...func(*Config)) *roomOf {
	t.Helper()
	return serve(edgetest.New(t), change...)
}

// serve serves a room anew.
func serve(r *edgetest.Room, change ...func(*Config)) *roomOf {
	cfg := Config{Store: r.Store, Files: r.Files, Sender: transfer.New(fair.Config{}, quiet), URL: r.URL, Log: quiet, Machines: r.Machines}
	for _, f := range change {
		f(&cfg)
	}
	s := New(cfg)
	mux := http.NewServeMux()
	s.Routes(mux)
	r.Handler = mux
	return &roomOf{r, s}
}

// serveCache serves a cache without machines.
func serveCache(records cache.Store, blobs cache.Blobs) (*Server, http.Handler) {
	s := New(Config{Store: records, Files: content.New(records, blobs), Sender: transfer.New(fair.Config{}, quiet), Log: quiet})
	mux := http.NewServeMux()
	s.Routes(mux)
	return s, mux
}
