package embedded

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// memory serves HTTP over pipes inside the process: the same client and server code as over a network, no port.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	server *http.Server
	client *http.Client
	done   sync.WaitGroup
}

func serveMemory(handler http.Handler) *memory {
	m := &memory{conns: make(chan net.Conn), closed: make(chan struct{}), server: &http.Server{Handler: handler}}
	m.client = &http.Client{Transport: &http.Transport{DialContext: m.dial, DisableCompression: true}}
	m.done.Go(func() { _ = m.server.Serve(m) }) // it only ever ends with Close
	return m
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case m.conns <- far:
		return near, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

// Addr implements net.Listener.
func (m *memory) Addr() net.Addr { return memoryAddr{} }

func (m *memory) close() error {
	m.client.CloseIdleConnections()
	err := m.server.Close()
	m.done.Wait()
	return err
}

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "farm" }
