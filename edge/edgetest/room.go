// Package edgetest has what tests of an edge's protocols begin with: a cache with a release, an intent with two machines, and what
// an edge knows of them. It is for tests only, and starts nothing.
package edgetest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/edge/content"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/machines"
	"github.com/kiln-farm/kiln/edge/peers"
	"github.com/kiln-farm/kiln/edge/seen"
	"github.com/kiln-farm/kiln/edge/timeline"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// The machines: Known boots release v1, OnDisk its own disk, and nobody described Stranger.
const (
	Known    = "52:54:00:00:00:01"
	OnDisk   = "52:54:00:00:00:02"
	Stranger = "52:54:00:00:00:99"

	// URL is the edge's.
	URL = "http://10.0.0.1:7380"
)

// Quiet is a log that nobody reads.
var Quiet = slog.New(slog.DiscardHandler)

// Room is what an edge knows of machines, over a cache of its own. What is told of them is kept.
type Room struct {
	*machines.Machines
	Store   *disk.Store
	Files   *content.Files
	Path    string       // of the intent
	Handler http.Handler // for Get; a test sets it

	events []*kilnv1.BootEvent
}

// New makes a Room.
func New(t testing.TB) *Room {
	t.Helper()
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &Room{Store: store, Files: content.New(store, store), Path: filepath.Join(t.TempDir(), "intent")}
	blob := func(text string) *kilnv1.FileRef {
		return &kilnv1.FileRef{Digest: r.Blob(t, []byte(text)).String(), Size: int64(len(text))}
	}
	intents, err := intent.Open(r.Path, Quiet)
	if err != nil {
		t.Fatal(err)
	}
	intents.Set(&kilnv1.Intent{
		Revision: 1, TokenKey: bytes.Repeat([]byte{7}, 32),
		Machines: []*kilnv1.Machine{
			{Name: "web", Macs: []string{Known}, Labels: map[string]string{"role": "web"}, Address: "10.0.0.21/24", Gateway: "10.0.0.254"},
			{Name: "store", Macs: []string{OnDisk}, Labels: map[string]string{"role": "web"}, LocalDisk: true},
		},
		Groups: []*kilnv1.Group{{Name: "web", Selector: map[string]string{"role": "web"}, Release: "v1", Cmdline: "group=1"}},
		Releases: []*kilnv1.Release{{Name: "v1", Platforms: map[string]*kilnv1.ReleaseFiles{
			"linux/amd64": {Kernel: blob("the kernel"), Initrds: []*kilnv1.FileRef{blob("first"), blob("second")}, Cmdline: "console=ttyS0", Uki: blob("the UKI")},
		}}},
	})
	r.Machines = machines.New(machines.Config{Intents: intents, Seen: seen.New(), Peers: peers.Open("", Quiet), Events: timeline.New("e1", r.take, Quiet), URL: URL})
	return r
}

// Blob puts a blob into the cache.
func (r *Room) Blob(t testing.TB, data []byte) cache.Digest {
	t.Helper()
	draft, err := r.Store.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	if _, err := draft.Write(data); err != nil {
		t.Fatal(err)
	}
	d, _, err := draft.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// take is what a farm does with events.
func (r *Room) take(_ context.Context, events []*kilnv1.BootEvent) error {
	r.events = append(r.events, events...)
	return nil
}

// Happened takes the events so far.
func (r *Room) Happened() []*kilnv1.BootEvent {
	ended, end := context.WithCancel(context.Background())
	end()
	r.Events.Run(ended) // tells what there is, once
	all := r.events
	r.events = nil
	return all
}

// Change gives the edge another intent.
func (r *Room) Change(change func(*kilnv1.Intent)) {
	in := proto.CloneOf(r.Intents.Now())
	in.Revision++
	change(in)
	r.Intents.Set(in)
}

// SetOthers tells of other edges.
func (r *Room) SetOthers(urls []string) { r.Peers.Set(urls, time.Now()) }

// Get asks over HTTP from an address.
func (r *Room) Get(path, from string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.RemoteAddr = from + ":1234"
	req.Host = "10.0.0.1:7380"
	r.Handler.ServeHTTP(w, req)
	return w
}
