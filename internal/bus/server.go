package bus

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	startTimeout  = 10 * time.Second
	reconnectWait = 100 * time.Millisecond // NATS waits 2 s, far longer than a change of leader takes
	pingInterval  = 2 * time.Second        // NATS pings every 2 min; a dead peer should show within seconds
	pingsOut      = 2
	maxPending    = 16 << 20 // bytes that may wait for one slow connection
)

// Options of an embedded server.
type Options struct {
	Name   string // of the server, for its peers and its clients; chosen by NATS when empty
	Listen string // "host:port"; empty: reached inside the process only
}

// Server is an embedded NATS server.
type Server struct {
	ns *server.Server
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
	}
	if opts.Listen != "" {
		host, port, err := net.SplitHostPort(opts.Listen)
		if err != nil {
			return nil, fmt.Errorf("bus address %q is not host:port: %w", opts.Listen, err)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("bus address %q: %q is no port number", opts.Listen, port)
		}
		o.Host, o.Port = host, int(n)
		if n == 0 {
			o.Port = server.RANDOM_PORT
		}
	}
	ns, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("start the bus: %w", err)
	}
	ns.Start()
	if !ns.ReadyForConnections(startTimeout) {
		ns.Shutdown()
		return nil, fmt.Errorf("start the bus: not ready after %s; is %q taken by another process?", startTimeout, opts.Listen)
	}
	return &Server{ns}, nil
}

// URL is where others reach the server; empty when it does not listen.
func (s *Server) URL() string {
	if s.ns.Addr() == nil {
		return ""
	}
	return "nats://" + s.ns.Addr().String()
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

// Dial connects to a server by URL and keeps reconnecting to it until the connection is closed.
func Dial(url, name string, opts ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(url, append(clientOptions(name), opts...)...)
	if errors.Is(err, nats.ErrNoServers) {
		return nil, fmt.Errorf("nothing answers at the bus address %s: is the farm up?", url)
	}
	if err != nil {
		return nil, fmt.Errorf("connect %s to the bus at %s: %w", name, url, err)
	}
	return nc, nil
}

func clientOptions(name string) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		// What was said before a reconnect is stale after it: better lost than late.
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // slow consumers lose messages; the default prints
	}
}
