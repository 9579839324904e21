package chaos

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// gate is one builder's way to the S3 server: it tells when the builder is in the middle of an upload.
type gate struct {
	URL    string
	server *http.Server

	mu      sync.Mutex // guards what follows
	armed   chan struct{}
	uploads int
}

// newGate listens at host and passes on to the server at target, a URL.
func newGate(host, target string) (*gate, error) {
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		return nil, err
	}
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	g := &gate{URL: "http://" + listener.Addr().String()}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is part of the signature
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // as the network would
		ErrorLog:     slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	g.server = &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/") {
				g.uploading(r)
			}
			forward.ServeHTTP(w, r)
		})}
	go func() { _ = g.server.Serve(listener) }() // it only ever ends with Close
	return g, nil
}

// uploading lets whoever waits for an upload know, and then holds this one for a moment.
func (g *gate) uploading(r *http.Request) {
	g.mu.Lock()
	g.uploads++
	armed := g.armed
	g.armed = nil
	g.mu.Unlock()
	if armed == nil {
		return
	}
	close(armed)
	select {
	case <-r.Context().Done(): // the builder is dead
	case <-time.After(2 * time.Second):
	}
}

// upload returns what is closed when the next upload has begun.
func (g *gate) upload() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.armed == nil {
		g.armed = make(chan struct{})
	}
	return g.armed
}

func (g *gate) Close() error { return g.server.Close() }
