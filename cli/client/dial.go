package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	// dialWait bounds a connection and its handshake: a coordinator that takes longer is as good as dead, and there
	// may be another one.
	dialWait = 4 * time.Second
	// pingAfter is how long an HTTP/2 connection may be silent before it is probed, and pingWait how long the answer
	// may take: a host that vanished sends nothing that would break its connections.
	pingAfter = 3 * time.Second
	pingWait  = 3 * time.Second
)

// dialer connects to whichever of a farm's coordinators answers, and to the same one again the next time.
type dialer struct {
	tls  *tls.Config // nil: without TLS
	http *http.Transport
	urls map[string]bool // host:port of the URLs that requests are made to

	mu        sync.Mutex // guards what follows
	addresses []string   // host:port
	next      int        // index of the one to begin with
}

func newDialer(urls []string, config *tls.Config) *dialer {
	d := &dialer{tls: config, urls: map[string]bool{}}
	for _, one := range urls {
		address := hostPort(one)
		d.urls[address] = true
		d.add(address)
	}
	d.http = d.transport()
	return d
}

// hostPort is the address to connect to for a URL that ParseURLs let pass.
func hostPort(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// add takes another coordinator's address, unless it is known.
func (d *dialer) add(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.addresses, address) {
		d.addresses = append(d.addresses, address)
	}
}

// other makes the next connection go to the next coordinator: the one that answers now cannot help.
func (d *dialer) other() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.addresses) < 2 {
		return
	}
	d.next = (d.next + 1) % len(d.addresses)
	d.http.CloseIdleConnections()
}

func (d *dialer) close() { d.http.CloseIdleConnections() }

// transport reaches the farm at each of its URLs.
func (d *dialer) transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !d.urls[address] { // a proxy
			return (&net.Dialer{Timeout: dialWait}).DialContext(ctx, network, address)
		}
		return d.dial(ctx)
	}
	if d.tls != nil {
		t.TLSClientConfig = d.tls.Clone()
		t.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) }
		t.ForceAttemptHTTP2 = true
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait}
	}
	return t
}

// dial tries each address once, beginning with the one that answered last.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	d.mu.Lock()
	addresses, first := slices.Clone(d.addresses), d.next
	d.mu.Unlock()
	var faults []error
	for i := range addresses {
		at := (first + i) % len(addresses)
		conn, err := d.try(ctx, addresses[at])
		if err == nil {
			d.mu.Lock()
			if d.next == first { // nobody chose another one meanwhile
				d.next = at
			}
			d.mu.Unlock()
			return conn, nil
		}
		if len(addresses) > 1 {
			err = fmt.Errorf("%s: %w", addresses[at], short(err))
		}
		if faults = append(faults, err); ctx.Err() != nil {
			break
		}
	}
	return nil, &dialError{faults}
}

func (d *dialer) try(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil || d.tls == nil {
		return conn, err
	}
	secure := tls.Client(conn, d.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's fault is the one to tell
		return nil, &handshakeError{err}
	}
	return secure, nil
}

// dialError is that none of the addresses answered.
type dialError struct{ faults []error }

func (e *dialError) Unwrap() []error { return e.faults }

func (e *dialError) Error() string {
	text := ""
	for i, err := range e.faults {
		if i > 0 {
			text += "; "
		}
		text += err.Error()
	}
	return text
}

// short leaves out of a fault the address that it is about.
func short(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return op.Err
	}
	return err
}
