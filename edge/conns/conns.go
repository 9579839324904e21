// Package conns bounds the connections to an edge: of all clients together, and of each one. Connections that say nothing
// cost memory and descriptors, and anybody may open them.
//
// What is too much is closed at once, so that accepting never stands still. While more than half of all are taken, a client may
// have few: so there is room for those who have none yet.
package conns

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Defaults of a Listener.
const (
	DefaultAll       = 8192
	DefaultPerClient = 512
	few              = 16 // connections of a client, while more than half of all are taken
)

// Listener accepts connections within its bounds, which must not change once it is used.
type Listener struct {
	net.Listener
	All, PerClient int // zero: the defaults

	refused atomic.Uint64

	mu  sync.Mutex // guards what follows
	all int
	of  map[netip.Addr]int
}

// Accept gives the next connection that is not too much.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := Client(c.RemoteAddr())
		if !l.enter(from) {
			l.refused.Add(1)
			_ = c.Close() // its client sees that
			continue
		}
		if t, ok := c.(*net.TCPConn); ok {
			prepare(t)
			return &tcpConn{TCPConn: t, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		return &conn{Conn: c, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
	}
}

// Refused is how many connections were closed because they were too many.
func (l *Listener) Refused() uint64 { return l.refused.Load() }

// Open is how many connections there are now.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

func (l *Listener) enter(from netip.Addr) bool {
	all, each := l.All, l.PerClient
	if all <= 0 {
		all = DefaultAll
	}
	if each <= 0 {
		each = DefaultPerClient
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= all/2 {
		each = min(each, few)
	}
	if l.all >= all || l.of[from] >= each {
		return false
	}
	if l.of == nil {
		l.of = map[netip.Addr]int{}
	}
	l.all++
	l.of[from]++
	return true
}

func (l *Listener) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.of[from]--; l.of[from] == 0 {
		delete(l.of, from)
	}
}

// Client is who an address belongs to: the same for all ports, and for both ways to write an IPv4 address.
func Client(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	p, _ := netip.ParseAddrPort(a.String())
	return p.Addr().Unmap()
}

// tcpConn still has everything that a TCP connection has: the kernel sends files over it by itself.
type tcpConn struct {
	*net.TCPConn
	leave func()
}

func (c *tcpConn) Close() error {
	c.leave()
	return c.TCPConn.Close()
}

type conn struct {
	net.Conn
	leave func()
}

func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}
