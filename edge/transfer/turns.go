package transfer

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/edge/conns"
	"github.com/kiln-farm/kiln/edge/fair"
)

const (
	// smallFile is the length, in bytes, up to which nobody waits for a turn: scripts, configuration and small files are sent
	// at once.
	smallFile = 64 << 10
	// A client that takes less than leastTaken bytes in takeTime has its transfer ended.
	takeTime   = time.Minute
	leastTaken = 16 << 10
	// landTime is how long other transfers of a client wait until what one of them sent has arrived.
	landTime  = 2 * time.Second
	firstLook = 500 * time.Microsecond
	lastLook  = 20 * time.Millisecond
	// retryMost is the longest time, in seconds, after which a client that was refused is to ask again. iPXE does so by itself,
	// and gives an edge 15 s (patience); EDK2 does not.
	retryMost = 4
	// complainEvery bounds how often it is said that clients are refused.
	complainEvery = 10 * time.Second
)

// errStalled is of a client that takes next to nothing.
var errStalled = errors.New("the client took less than 16 KiB in a minute")

// connKey is the key of a request's connection in its context.
type connKey struct{}

// WithConn lets a server know the connection of a request (http.Server.ConnContext).
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// flowKey is the key of the machine that a request is of, in its context.
type flowKey struct{}

// OfMachine says which machine a request is of: a machine has one share however many addresses it has.
func OfMachine(r *http.Request, name string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), flowKey{}, name))
}

// begin takes a transfer of that many bytes in. Nil with ok is one that waits for nobody; when ok is false the client was answered.
func (s *Sender) begin(w http.ResponseWriter, r *http.Request, length int64) (t *turns, ok bool) {
	if length <= smallFile {
		return nil, true
	}
	flow, _ := r.Context().Value(flowKey{}).(string)
	x, err := s.queue.Enter(clientOf(r), flow)
	if err != nil {
		s.refuse(w, r, err)
		return nil, false
	}
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	return &turns{ctx: r.Context(), w: unwrap(w), control: http.NewResponseController(w), conn: conn, transfer: x, rest: length}, true
}

// clientOf is the address of who asks.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || host == "" {
		return r.RemoteAddr
	}
	return host
}

// refuse has a client ask again.
func (s *Sender) refuse(w http.ResponseWriter, r *http.Request, why error) {
	w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(retryMost)))
	for _, name := range []string{"ETag", "Content-Range", "Accept-Ranges"} {
		w.Header().Del(name)
	}
	Fail(w, http.StatusServiceUnavailable, why.Error())
	refusedNow, full := s.refused.Add(1), &fair.Full{}
	errors.As(why, &full)
	httpNo.Add(r.Context(), 1, metric.WithAttributes(attribute.String("full", full.What)))
	if s.sayings.Due("refused") {
		s.log.Warn("a transfer was refused; clients are told to ask again", "client", r.RemoteAddr, "why", why, "refused", refusedNow)
	}
}

// turns writes one answer's body, a turn at a time.
type turns struct {
	ctx      context.Context
	w        io.Writer // the server's own
	control  *http.ResponseController
	conn     net.Conn // nil: unknown
	transfer *fair.Transfer
	rest     int64 // bytes that are still to be sent
	left     int64 // bytes of this turn
	sent     int64 // bytes in this turn
	has      bool  // a turn
	taken    int64 // bytes since the deadline was set
}

// next gets a turn when the last one is used up.
func (t *turns) next() error {
	if t.left > 0 {
		return nil
	}
	t.end()
	n, err := t.transfer.Turn(t.ctx, max(t.rest, 1), t.flush)
	if err != nil {
		return err
	}
	t.left, t.has = n, true
	return t.deadline()
}

// flush sends the header to a client that is to wait: EDK2 gives up after 5 s without any.
func (t *turns) flush() { _ = t.control.Flush() }

func (t *turns) deadline() error {
	t.taken = 0
	err := t.control.SetWriteDeadline(time.Now().Add(takeTime))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// count notes what was sent.
func (t *turns) count(n int64) {
	t.rest, t.left, t.sent, t.taken = t.rest-n, t.left-n, t.sent+n, t.taken+n
}

// late says whether an error is only that a client takes its time, within what it may take.
func (t *turns) late(err error) (error, bool) {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err, false
	}
	if t.taken < leastTaken {
		return errStalled, false
	}
	t.left = 0 // who is late waits for another turn
	return nil, true
}

// Write implements io.Writer, for what is not in a file.
func (t *turns) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if err := t.next(); err != nil {
			return n, err
		}
		m, err := t.w.Write(p[n : n+int(min(int64(len(p)-n), t.left))])
		n += m
		t.count(int64(m))
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// ReadFrom implements io.ReaderFrom: the kernel sends a file's bytes by itself.
func (t *turns) ReadFrom(src io.Reader) (n int64, err error) {
	to, direct := t.w.(io.ReaderFrom)
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: src, N: t.rest}
	}
	if !direct {
		return io.Copy(struct{ io.Writer }{t}, limited)
	}
	for limited.N > 0 {
		if err := t.next(); err != nil {
			return n, err
		}
		part := min(limited.N, t.left)
		m, err := to.ReadFrom(&io.LimitedReader{R: limited.R, N: part})
		n += m
		limited.N -= m
		t.count(m)
		if err != nil {
			var goesOn bool
			if err, goesOn = t.late(err); !goesOn {
				return n, err
			}
			continue
		}
		if m < part {
			return n, nil // the source has ended
		}
	}
	return n, nil
}

// end ends the turn. While others of the same client wait, it waits until the bytes have arrived, for some time.
func (t *turns) end() {
	if !t.has {
		return
	}
	lands := t.transfer.End(t.sent)
	t.has, t.sent, t.left = false, 0, 0
	if !lands {
		return
	}
	defer t.transfer.Landed()
	over := time.Now().Add(landTime)
	for look := firstLook; t.conn != nil && time.Now().Before(over); look = min(2*look, lastLook) {
		if n, ok := conns.Queued(t.conn); !ok || n == 0 {
			return
		}
		select {
		case <-time.After(look):
		case <-t.ctx.Done():
			return
		}
	}
}

// close ends the transfer, and tells for how long it waited for its turns.
func (t *turns) close() time.Duration {
	if t == nil {
		return 0
	}
	t.end()
	t.transfer.Leave()
	return t.transfer.Waited()
}
