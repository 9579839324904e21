package replica

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/internal/pki"
)

// protocolRaft is what raft's connections ask for when they are opened (ALPN, RFC 7301).
const Protocol = "kiln-raft"

// streams is raft's network: connections that came to the API's port and asked for raft, and ones that are dialed.
type streams struct {
	address string // of this coordinator, as others reach it
	client  *tls.Config
	conns   chan net.Conn
	closed  chan struct{}
	close   func()
}

func newStreams(c *Peers) *streams {
	client, _ := c.Credentials.PeerTLS(Protocol)
	s := &streams{address: c.Advertise, client: client, conns: make(chan net.Conn), closed: make(chan struct{})}
	s.close = sync.OnceFunc(func() { close(s.closed) })
	return s
}

// Serve hands a connection over to raft and waits until raft is done with it, since whoever calls closes it then.
// Only another coordinator gets here.
func (s *streams) Serve(_ *http.Server, conn *tls.Conn, _ http.Handler) {
	connState := conn.ConnectionState()
	if who, err := pki.PeerIdentity(&connState); err != nil || who.Role != pki.RoleCoordinator {
		return
	}
	// The HTTP server has set deadlines for headers that will not come.
	if conn.SetDeadline(time.Time{}) != nil {
		return
	}
	held := &heldConn{Conn: conn, done: make(chan struct{})}
	held.release = sync.OnceFunc(func() { close(held.done) })
	select {
	case s.conns <- held:
	case <-s.closed:
		return
	}
	select {
	case <-held.done:
	case <-s.closed:
	}
}

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *streams) Close() error {
	s.close()
	return nil
}

// Addr implements net.Listener.
func (s *streams) Addr() net.Addr { return streamAddr(s.address) }

// Dial implements raft.StreamLayer.
func (s *streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return (&tls.Dialer{Config: s.client}).DialContext(ctx, "tcp", string(address))
}

// heldConn says when it is closed.
type heldConn struct {
	net.Conn
	done    chan struct{}
	release func()
}

func (c *heldConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

type streamAddr string

func (streamAddr) Network() string  { return "tcp" }
func (a streamAddr) String() string { return string(a) }
