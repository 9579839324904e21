package s3test

import (
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is something that goes wrong between a client and its S3 server.
type Fault string

// The faults.
const (
	Slow   Fault = "slow"   // an answer comes late
	Errors Fault = "500"    // the server fails
	Drop   Fault = "drop"   // the connection breaks, before the answer or in its middle
	Lose   Fault = "lose"   // a blob is not there
	Flip   Fault = "flip"   // a bit of a blob is another on its way
	Down   Fault = "outage" // nobody answers
)

// slowest is how late an answer comes at most.
const slowest = 500 * time.Millisecond

// Proxy passes requests on to a server, and does what it is told to some of them.
type Proxy struct {
	// URL is where clients reach it.
	URL string

	server *http.Server
	done   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	rates  map[Fault]float64
	random *rand.Rand
	counts map[Fault]int

	blobReads, blobBytes atomic.Int64
}

// NewProxy starts a proxy in front of the server at address (host:port), at listen. Seed makes its choices repeatable.
func NewProxy(address, listen string, seed uint64) (*Proxy, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		URL: "http://" + listener.Addr().String(), rates: map[Fault]float64{}, counts: map[Fault]int{},
		random: rand.New(rand.NewPCG(seed, seed)),
	}
	target := &url.URL{Scheme: "http", Host: address}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is part of the signature
		},
		ModifyResponse: p.spoil,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			panic(http.ErrAbortHandler) // as the network would: no answer
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	p.server = &http.Server{Handler: p.faulty(forward), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	p.done.Go(func() { _ = p.server.Serve(listener) }) // it only ever ends with Close
	return p, nil
}

// Close ends the proxy.
func (p *Proxy) Close() {
	_ = p.server.Close()
	p.done.Wait()
}

// Set makes a fault happen to that part of the requests, 0 to 1.
func (p *Proxy) Set(f Fault, rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rates[f] = rate
}

// Calm ends all faults.
func (p *Proxy) Calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.rates)
}

// Counts is how often each fault happened.
func (p *Proxy) Counts() map[Fault]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

// BlobReads is how often a blob was read, and how many bytes of blobs went to clients.
func (p *Proxy) BlobReads() (reads, bytes int64) { return p.blobReads.Load(), p.blobBytes.Load() }

func (p *Proxy) happens(f Fault) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rates[f] == 0 || p.random.Float64() >= p.rates[f] {
		return false
	}
	p.counts[f]++
	return true
}

func (p *Proxy) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		blob := strings.Contains(r.URL.Path, "/blobs/") && (r.Method == http.MethodGet || r.Method == http.MethodHead)
		switch {
		case p.happens(Down):
			panic(http.ErrAbortHandler)
		case p.happens(Errors):
			w.WriteHeader([]int{http.StatusInternalServerError, http.StatusServiceUnavailable}[p.pick(2)])
			return
		case blob && p.happens(Lose):
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if p.happens(Slow) {
			select {
			case <-time.After(time.Duration(1 + p.pick(int(slowest)))):
			case <-r.Context().Done():
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (p *Proxy) pick(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.random.IntN(n)
}

// spoil breaks or changes an answer's body.
func (p *Proxy) spoil(r *http.Response) error {
	if r.Request.Method != http.MethodGet || r.ContentLength <= 0 {
		return nil
	}
	if strings.Contains(r.Request.URL.Path, "/blobs/") && r.StatusCode/100 == 2 {
		p.blobReads.Add(1)
		r.Body = &counted{r.Body, &p.blobBytes}
	}
	if p.happens(Drop) {
		r.Body = &broken{ReadCloser: r.Body, left: p.pick(int(r.ContentLength))}
	}
	if strings.Contains(r.Request.URL.Path, "/blobs/") && r.StatusCode/100 == 2 && p.happens(Flip) {
		r.Body = &flipped{ReadCloser: r.Body, at: p.pick(int(r.ContentLength))}
	}
	return nil
}

// counted counts what is read.
type counted struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (c *counted) Read(data []byte) (int, error) {
	n, err := c.ReadCloser.Read(data)
	c.bytes.Add(int64(n))
	return n, err
}

// broken ends early.
type broken struct {
	io.ReadCloser
	left int
}

func (b *broken) Read(data []byte) (int, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(data[:min(len(data), b.left)])
	b.left -= n
	return n, err
}

// flipped has one bit that is another.
type flipped struct {
	io.ReadCloser
	at int
}

func (f *flipped) Read(data []byte) (int, error) {
	n, err := f.ReadCloser.Read(data)
	if f.at >= 0 && f.at < n {
		data[f.at] ^= 1
	}
	f.at -= n
	return n, err
}
