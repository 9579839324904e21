package httpboot

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/content"
	"github.com/kiln-farm/kiln/edge/machines"
	"github.com/kiln-farm/kiln/edge/peers"
	"github.com/kiln-farm/kiln/edge/transfer"
)

// Config of a Server.
type Config struct {
	Store  cache.Store // records of builds
	Files  *content.Files
	Sender *transfer.Sender
	URL    string // of this edge, as machines reach it: "http://10.0.0.2:7380"
	Log    *slog.Logger

	// What follows is for machines that somebody described; without Machines there are builds only.
	Machines *machines.Machines
	Once     config.Once // among all edges, for secrets; nil: none are given
	// SessionsOnly: EC2's documents are given with a session token only (IMDSv2).
	SessionsOnly bool
}

// Server answers machines over HTTP.
type Server struct {
	Config
	loaders atomic.Pointer[map[string]string] // nil: there are none
}

// New makes a Server.
func New(cfg Config) *Server { return &Server{Config: cfg} }

// SetLoaders gives boot programs by their names, too, as paths of this host.
func (s *Server) SetLoaders(loaders map[string]string) { s.loaders.Store(&loaders) }

// loader is the path of a boot program; empty: there is none.
func (s *Server) loader(name string) string {
	if all := s.loaders.Load(); all != nil {
		return (*all)[name]
	}
	return ""
}

// Routes adds what there is to mux.
func (s *Server) Routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /artifacts/{digest}", s.artifact)
	mux.HandleFunc("GET /builds/{team}/{build}/{arch}/{file}", s.buildFile)
	mux.HandleFunc("GET /boot/{script}", s.bootAny)
	mux.HandleFunc("GET /boot/{build}/{script}", s.bootArch)
	if s.Machines == nil {
		return
	}
	mux.HandleFunc("GET /boot.ipxe", s.machineScript)
	mux.HandleFunc("GET /files/{token}/{digest}", s.machineFile)
	mux.HandleFunc("GET /uki/{mac}", s.machineUKI)
	mux.HandleFunc("GET /up/{token}", s.machineUp)
	mux.HandleFunc("GET /loaders/{name}", s.machineLoader)
	mux.Handle("/", s.Configuration())
}

// urlsFor are the edges that whoever asks can reach, this one first: over IPv6 by the address that was asked.
func (s *Server) urlsFor(r *http.Request) []string {
	source, err := netip.ParseAddr(addressOf(r))
	if err != nil || source.Unmap().Is4() || peers.Family(s.URL) == 6 {
		return s.Machines.Edges()
	}
	own := s.URL
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if asked, err := netip.ParseAddrPort(fmt.Sprint(local)); err == nil && peers.Family(own) == 4 && asked.Addr().Is6() && !asked.Addr().IsLinkLocalUnicast() {
		own = "http://" + asked.String()
	}
	return s.Machines.Peers.URLs(own, 6, time.Now())
}
