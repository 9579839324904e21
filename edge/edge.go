package edge

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/bottleneck"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/conns"
	"github.com/kiln-farm/kiln/edge/content"
	"github.com/kiln-farm/kiln/edge/fair"
	"github.com/kiln-farm/kiln/edge/httpboot"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/machines"
	"github.com/kiln-farm/kiln/edge/peers"
	"github.com/kiln-farm/kiln/edge/seen"
	"github.com/kiln-farm/kiln/edge/timeline"
	"github.com/kiln-farm/kiln/edge/transfer"
)

const (
	headerWait = 10 * time.Second // for a request's header: a boot ROM sends it at once
	idleWait   = 2 * time.Minute
	drainWait  = 10 * time.Second // for transfers under way when the edge is to end
	maxHeader  = 16 << 10
)

// Config of an Edge.
type Config struct {
	Store cache.Store // records of builds and artifacts
	Blobs cache.Blobs
	Log   *slog.Logger

	// What follows is for machines that somebody described; without Intents the edge serves builds only.
	Intents *intent.Store
	Events  *timeline.Reporter // what machines do; nil: nobody is told
	Once    config.Once        // among all edges, for secrets; nil: none are given
	URL     string             // of this edge, as machines reach it: "http://10.0.0.2:7380"
	// SessionsOnly: EC2's documents are given with a session token only (IMDSv2).
	SessionsOnly bool

	Fair fair.Config // how what HTTP sends is shared out; zero: the defaults
}

// Edge serves one cache.
type Edge struct {
	cfg      Config
	mux      *http.ServeMux
	handler  http.Handler
	peers    *peers.Peers
	files    *content.Files
	sender   *transfer.Sender
	watcher  *bottleneck.Watcher
	machines *machines.Machines // nil: it serves builds only
	http     *httpboot.Server
}

// SetOthers tells of the other edges, at which a boot may go on.
func (e *Edge) SetOthers(urls []string) {
	if e.peers.Set(urls, time.Now()) {
		e.cfg.Log.Info("the edges of this room", "edges", urls)
	}
}

// New makes an Edge.
func New(cfg Config) (*Edge, error) {
	if cfg.Store == nil || cfg.Blobs == nil {
		return nil, errors.New("an edge needs a store and blobs")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	e := &Edge{cfg: cfg, peers: openPeers(cfg.Intents, cfg.Log), files: content.New(cfg.Store, cfg.Blobs), sender: transfer.New(cfg.Fair, cfg.Log),
		watcher: bottleneck.NewWatcher(cfg.Log)}
	if cfg.Intents != nil {
		e.machines = machines.New(machines.Config{Intents: cfg.Intents, Seen: seen.New(), Peers: e.peers, Events: cfg.Events, URL: cfg.URL})
	}
	e.http = httpboot.New(httpboot.Config{Store: cfg.Store, Files: e.files, Sender: e.sender, URL: cfg.URL, Log: cfg.Log, Machines: e.machines, Once: cfg.Once, SessionsOnly: cfg.SessionsOnly})
	e.mux = http.NewServeMux()
	e.http.Routes(e.mux)
	e.handler = e.logged(e.mux)
	return e, nil
}

// Machines is what this edge knows of machines; nil without Intents.
func (e *Edge) Machines() *machines.Machines { return e.machines }

// Files are what this edge reads of its cache.
func (e *Edge) Files() *content.Files { return e.files }

// ServeLoaders serves boot programs over HTTP, too: by their names, as paths of this host.
func (e *Edge) ServeLoaders(loaders map[string]string) { e.http.SetLoaders(loaders) }

// openPeers reads which edges there were, beside the intent.
func openPeers(intents *intent.Store, log *slog.Logger) *peers.Peers {
	if intents == nil || intents.Path() == "" {
		return peers.Open("", log)
	}
	return peers.Open(filepath.Join(filepath.Dir(intents.Path()), peers.File), log)
}

// Prefetch fetches the files of releases that machines are to boot until ctx ends.
func (e *Edge) Prefetch(ctx context.Context) { e.files.Prefetch(ctx, e.cfg.Intents, e.cfg.Log) }

// Handler serves the edge's paths.
func (e *Edge) Handler() http.Handler { return e.handler }

// Serve serves on l until ctx ends, and then lets transfers under way end.
func (e *Edge) Serve(ctx context.Context, l net.Listener) error { return e.serveOn(ctx, l, e.handler) }

// ServeMetadata serves on l, an address at which programs made for clouds ask, until ctx ends. What machines boot is there, too; the
// begin of it all is not a page for people but the list of EC2's versions.
func (e *Edge) ServeMetadata(ctx context.Context, l net.Listener) error {
	configuration := e.http.Configuration()
	return e.serveOn(ctx, l, e.logged(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			configuration.ServeHTTP(w, r)
			return
		}
		e.mux.ServeHTTP(w, r)
	})))
}

func (e *Edge) serveOn(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerWait, IdleTimeout: idleWait, MaxHeaderBytes: maxHeader,
		ConnContext: transfer.WithConn, ErrorLog: slog.NewLogLogger(e.cfg.Log.Handler(), slog.LevelDebug)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(&conns.Listener{Listener: l}) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWait)
	defer cancel()
	err := server.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-done
	return err
}

// logged says what was asked for and how it ended.
func (e *Edge) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		httpNow.Add(r.Context(), 1)
		next.ServeHTTP(status, r)
		httpNow.Add(r.Context(), -1)
		httpTime.Record(r.Context(), time.Since(start).Seconds(), metric.WithAttributes(attribute.String("path", kindOf(r.URL.Path)), attribute.Int("status", status.status)))
		level := slog.LevelInfo
		if r.URL.Path == "/healthz" { // all the time
			level = slog.LevelDebug
		}
		e.cfg.Log.Log(r.Context(), level, "served", "method", r.Method, "path", config.Redact(r.URL.Path), "status", status.status, "range", r.Header.Get("Range"),
			"client", r.RemoteAddr, "agent", r.UserAgent(), "ms", time.Since(start).Milliseconds())
	})
}

// statusWriter remembers the status. Unwrap lets the body still go by sendfile.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap gives the writer beneath (http.ResponseController).
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
