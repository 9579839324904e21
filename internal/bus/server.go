package bus

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	startTimeout  = 10 * time.Second
	reconnectWait = 100 * time.Millisecond // NATS waits 2 s, far longer than a change of leader takes
	pingInterval  = 2 * time.Second        // NATS pings every 2 min; a dead peer should show within seconds
	pingsOut      = 2
	writeDeadline = 5 * time.Second // of one write to a connection that does not take it
	tlsTimeout    = 5 * time.Second
	maxPending    = 64 << 20 // bytes that may wait for one slow connection
)

// Options of an embedded server.
type Options struct {
	Name   string // of the server, for its peers and its clients; chosen by NATS when empty
	Listen string // "host:port"; empty: reached inside the process only
	// TLS of the port for clients. With it, what a connection may do follows from the role in its certificate; the
	// connection inside the process may do everything.
	TLS   *tls.Config
	Farm  string // whose subjects those rights are for
	Peers *Peers // nil: this server is alone
}

// Peers says how the servers of a farm's coordinators become one. Each passes on what its clients say to those who
// listen at the others.
type Peers struct {
	Cluster        string // name that all of them have
	Listen         string // "host:port" for the other servers
	Routes         []string
	Client, Server *tls.Config // of the two ends of a connection between servers
}

// Server is an embedded NATS server.
type Server struct {
	ns *server.Server

	mu      sync.Mutex // guards options
	options *server.Options
}

// Start starts a server and returns when it takes connections.
func Start(opts Options) (*Server, error) {
	o := &server.Options{
		ServerName:      opts.Name,
		DontListen:      opts.Listen == "",
		NoSigs:          true,
		NoLog:           true,
		NoSystemAccount: true,
		MaxPayload:      MaxPayload + maxHeader,
		MaxPending:      maxPending,
		PingInterval:    pingInterval,
		MaxPingsOut:     pingsOut,
		WriteDeadline:   writeDeadline,
	}
	if opts.Listen != "" {
		var err error
		if o.Host, o.Port, err = hostPort(opts.Listen); err != nil {
			return nil, err
		}
	}
	if opts.TLS != nil {
		o.TLSConfig, o.TLS, o.TLSVerify, o.TLSTimeout = opts.TLS, true, true, tlsTimeout.Seconds()
		o.CustomClientAuthentication = access{For(opts.Farm)}
	}
	if opts.Peers != nil {
		if err := join(o, opts.Peers); err != nil {
			return nil, err
		}
	}
	// The server fills in what is not set. Reloading compares what it is given with that: where they differ, clients
	// would lose their connections.
	ns, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("start the bus: %w", err)
	}
	ns.Start()
	if !ns.ReadyForConnections(startTimeout) {
		ns.Shutdown()
		return nil, fmt.Errorf("start the bus: not ready after %s; is %q taken by another process?", startTimeout, opts.Listen)
	}
	return &Server{ns: ns, options: o}, nil
}

// join makes the server one of several.
func join(o *server.Options, peers *Peers) error {
	var err error
	o.Cluster.Name, o.Cluster.NoAdvertise, o.Cluster.PoolSize = peers.Cluster, true, -1
	o.Cluster.ConnectRetries = 1 << 30 // a peer that is away may come back at any time
	o.Cluster.PingInterval = pingInterval
	if o.Cluster.Host, o.Cluster.Port, err = hostPort(peers.Listen); err != nil {
		return err
	}
	if peers.Server != nil {
		// NATS uses one configuration for both ends.
		both := peers.Server.Clone()
		both.RootCAs, both.ServerName, both.GetClientCertificate = peers.Client.RootCAs, peers.Client.ServerName, peers.Client.GetClientCertificate
		o.Cluster.TLSConfig, o.Cluster.TLSTimeout = both, tlsTimeout.Seconds()
	}
	o.Routes, err = routeURLs(peers.Routes)
	return err
}

func routeURLs(routes []string) ([]*url.URL, error) {
	var all []*url.URL
	for _, r := range routes {
		if _, _, err := net.SplitHostPort(r); err != nil {
			return nil, fmt.Errorf("bus address %q of another coordinator is not host:port: %w", r, err)
		}
		all = append(all, &url.URL{Scheme: "nats-route", Host: r})
	}
	return all, nil
}

// SetRoutes says where the other servers are now. Builders that are connected lose their connection for a moment when
// that changes: reloading checks their rights anew.
func (s *Server) SetRoutes(routes []string) error {
	all, err := routeURLs(routes)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.options.Clone()
	next.Routes = all
	if err := s.ns.ReloadOptions(next); err != nil {
		return fmt.Errorf("tell the bus where the other coordinators are: %w", err)
	}
	s.options.Routes = all
	return nil
}

// PeersAddress is where other servers reach this one; empty when it is alone.
func (s *Server) PeersAddress() string {
	if s.ns.ClusterAddr() == nil {
		return ""
	}
	return s.ns.ClusterAddr().String()
}

// Peers is how many other servers this one is connected to.
func (s *Server) Peers() int { return s.ns.NumRoutes() }

func hostPort(address string) (string, int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("bus address %q is not host:port: %w", address, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("bus address %q: %q is no port number", address, port)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// URL is where others reach the server; empty when it does not listen.
func (s *Server) URL() string {
	if s.ns.Addr() == nil {
		return ""
	}
	scheme := "nats://"
	if s.options.TLSConfig != nil {
		scheme = "tls://"
	}
	return scheme + s.ns.Addr().String()
}

// Connect makes a connection inside the process. The name is for people who look at the server.
func (s *Server) Connect(name string) (*nats.Conn, error) {
	nc, err := nats.Connect("", append(clientOptions(name), nats.InProcessServer(s.ns))...)
	if err != nil {
		return nil, fmt.Errorf("connect %s to the bus in this process: %w", name, err)
	}
	return nc, nil
}

// Close ends the server and waits until it has ended.
func (s *Server) Close() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}
