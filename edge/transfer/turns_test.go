package transfer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/fair"
)

// wire is a line in memory that all connections share: a packet goes after the other, at a rate.
type wire struct {
	rate     float64 // bytes a second
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
	mu       sync.Mutex // is held while a packet is on the line
}

const packetSize = 16 << 10 // bytes

func newWire(rate float64) *wire {
	return &wire{rate: rate, accepted: make(chan net.Conn), closed: make(chan struct{})}
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.accepted:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80} }

// addressed is an end of a connection whose other end has an address.
type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

// dial connects from an address.
func (w *wire) dial(t testing.TB, from net.IP, port int) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	select {
	case w.accepted <- addressed{far, &net.TCPAddr{IP: from, Port: port}}:
	case <-time.After(10 * time.Second):
		t.Fatal("the edge accepts no connection")
	}
	t.Cleanup(func() { near.Close() })
	return near
}

// take reads until the end or until the test is over, and counts.
func (w *wire) take(c net.Conn, count *atomic.Int64) {
	packet := make([]byte, packetSize)
	for {
		n, err := c.Read(packet)
		w.mu.Lock()
		time.Sleep(time.Duration(float64(n) / w.rate * float64(time.Second)))
		w.mu.Unlock()
		count.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// inMemory is a File.
type inMemory []byte

func (m inMemory) Size() int64 { return int64(len(m)) }

func (m inMemory) ReadAt(p []byte, offset int64) (int, error) {
	return bytes.NewReader(m).ReadAt(p, offset)
}

func (m inMemory) WriteRange(w io.Writer, offset, n int64) (int64, error) {
	written, err := w.Write(m[offset : offset+n])
	return int64(written), err
}

// wired is a Sender at a wire, with one large file and a small one.
func wired(t *testing.T, rate float64, cfg fair.Config) (w *wire, s *Sender, large, small string) {
	t.Helper()
	s = New(cfg, slog.New(slog.DiscardHandler))
	mux := http.NewServeMux()
	for path, data := range map[string]inMemory{"/large": bytes.Repeat([]byte("large "), 8<<20/6), "/small": []byte("small")} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			s.Send(w, r, data, cache.SumBytes(data))
		})
	}
	server := &http.Server{Handler: mux, ConnContext: WithConn}
	w = newWire(rate)
	done := make(chan error, 1)
	go func() { done <- server.Serve(w) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return w, s, "/large", "/small"
}

func request(t testing.TB, c net.Conn, path string) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: edge\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
}

func TestAGreedyClientHasOneShareOfTheLine(t *testing.T) {
	const connections, modest, rate = 64, 20, 40e6
	w, s, large, _ := wired(t, rate, fair.Config{})
	counts := make([]atomic.Int64, modest+1)
	for n := range connections + modest {
		at, from := 0, net.IPv4(10, 0, 1, 1)
		if n >= connections {
			at = n - connections + 1
			from = net.IPv4(10, 0, 2, byte(at))
		}
		c := w.dial(t, from, 1000+n)
		request(t, c, large)
		go w.take(c, &counts[at])
	}
	await(t, func() bool { return s.queue.Counts().Transfers == connections+modest })
	total := func() (sum int64, all []int64) {
		for i := range counts {
			all = append(all, counts[i].Load())
			sum += all[i]
		}
		return sum, all
	}
	first := int64(8 << 20) // bytes: what the first ones had begun to send before the others came
	await(t, func() bool { sum, _ := total(); return sum > first })
	before, begun := total()
	await(t, func() bool { sum, _ := total(); return sum > before+24<<20 })
	after, ended := total()
	share := float64(after-before) / (modest + 1)
	for i := range counts {
		got := float64(ended[i]-begun[i]) / share
		if i == 0 && got > 1.7 {
			t.Errorf("the client with %d connections got %.2f shares, want about 1", connections, got)
		}
		if i > 0 && got < 0.6 {
			t.Errorf("modest client %d got %.2f of its share, want at least 0.6", i, got)
		}
	}
}

// await waits until something is so.
func await(t *testing.T, so func() bool) {
	t.Helper()
	for over := time.Now().Add(time.Minute); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(over) {
			t.Fatal("it did not come to that within a minute")
		}
	}
}

func TestWhoReadsNothingStopsNobody(t *testing.T) {
	w, s, large, small := wired(t, 100e6, fair.Config{})
	for n := range 200 { // each from its own address; half of them have not even asked
		c := w.dial(t, net.IPv4(10, 1, byte(n/100), byte(n%100)), 1000)
		if n%2 == 0 {
			request(t, c, large)
		}
	}
	await(t, func() bool { return s.queue.Counts().Transfers == 100 })
	for _, path := range []string{small, large} {
		c := w.dial(t, net.IPv4(10, 2, 0, 1), 1000)
		request(t, c, path)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != resp.ContentLength {
			t.Fatalf("beside 100 clients that read nothing, one got %d of %d bytes: %v", n, resp.ContentLength, err)
		}
	}
}

func TestATransferThatIsTooMuchIsToldToComeAgain(t *testing.T) {
	w, s, large, small := wired(t, 100e6, fair.Config{Transfers: 4})
	for n := range 4 {
		request(t, w.dial(t, net.IPv4(10, 1, 0, byte(n)), 1000), large)
	}
	await(t, func() bool { return s.queue.Counts().Transfers == 4 })
	ask := func(path string, header ...string) *http.Response {
		t.Helper()
		c := w.dial(t, net.IPv4(10, 2, 0, 1), 1000)
		extra := ""
		if len(header) > 0 {
			extra = header[0] + "\r\n"
		}
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: edge\r\n%s\r\n", path, extra); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for _, header := range []string{"X-Nothing: 1", "Range: bytes=100-1000000"} {
		resp := ask(large, header)
		after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != http.StatusServiceUnavailable || err != nil || after < 1 || after > retryMost {
			t.Errorf("%s: got %s, Retry-After %q", header, resp.Status, resp.Header.Get("Retry-After"))
		}
		if resp.Header.Get("ETag") != "" || resp.Header.Get("Content-Range") != "" {
			t.Errorf("%s: a refusal has the file's header: %v", header, resp.Header)
		}
	}
	if resp := ask(small); resp.StatusCode != http.StatusOK {
		t.Errorf("got %s while the queue is full, want that small answers wait for nobody", resp.Status)
	}
	if got := s.refused.Load(); got != 2 {
		t.Errorf("%d refusals were counted, want 2", got)
	}
}

func TestWhoWaitsForItsTurnHasItsHeaderAtOnce(t *testing.T) {
	w, s, large, _ := wired(t, 100e6, fair.Config{Bytes: 1, Patience: time.Hour})
	request(t, w.dial(t, net.IPv4(10, 1, 0, 1), 1000), large)
	await(t, func() bool { return s.queue.Counts().Turns == 1 })
	c := w.dial(t, net.IPv4(10, 1, 0, 2), 1000)
	request(t, c, large)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v, want the header before the turn comes", resp, err)
	}
}

func TestWhoTakesNextToNothingIsLetGo(t *testing.T) {
	for _, c := range []struct {
		name  string
		taken int64
		err   error
		on    bool
	}{
		{"nothing in a minute", 0, os.ErrDeadlineExceeded, false},
		{"some bytes in a minute", leastTaken - 1, os.ErrDeadlineExceeded, false},
		{"slow, but not that slow", leastTaken, os.ErrDeadlineExceeded, true},
		{"another error", leastTaken, io.ErrClosedPipe, false},
	} {
		x := &turns{taken: c.taken}
		if err, on := x.late(c.err); on != c.on || on != (err == nil) || c.err == os.ErrDeadlineExceeded && !on && !errors.Is(err, errStalled) {
			t.Errorf("%s: goes on %v, %v; want %v", c.name, on, err, c.on)
		}
	}
}
