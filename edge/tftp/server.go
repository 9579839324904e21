package tftp

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// What a Server goes by when its fields are zero.
const (
	DefaultBlock     = 1468        // bytes: what fits an Ethernet frame over IPv4; 20 less over IPv6
	DefaultWindow    = 64          // blocks
	DefaultTransfers = 4096        // at once
	DefaultPerClient = 8           // at once, of one address
	DefaultTimeout   = time.Second // until the first packet is sent again
)

const (
	receiveBuffer = 2048 // bytes: longer packets are no requests
	badReads      = 100  // failed reads in a row, until the socket counts as broken
	badReadPause  = 50 * time.Millisecond
)

// File is what a client gets. It is read at increasing offsets, a block at a time, and some blocks more than once.
type File interface {
	io.ReaderAt
	Size() int64 // in bytes; it must not change
	Close() error
}

// Transfer says how a transfer went.
type Transfer struct {
	Client   netip.AddrPort
	Asked    netip.Addr // the address of ours that was asked; not valid where the kernel does not say
	Name     string
	Size     int64 // of the file, in bytes; zero when it could not be opened
	Bytes    int64 // that the client acknowledged
	Block    int   // bytes of data in a block
	Window   int   // blocks in flight
	Resent   int64 // blocks
	Duration time.Duration
	// Probe is set when the client asked for the size only and ended the transfer before any data, as EDK2 does before each
	// real one. Err is nil then.
	Probe bool
	Err   error // nil when the client has the whole file
}

// Counters count since the Server was made.
type Counters struct {
	Transfers  uint64 // begun
	Duplicates uint64 // requests that repeated the one that is being answered
	Refused    uint64 // requests that were answered with an error before any file was looked for
	Dropped    uint64 // requests above the limits: not answered, so that the client asks again
	Evicted    uint64 // transfers whose clients had never answered, ended in favour of new ones
	Ignored    uint64 // packets that are no requests, or were sent to everyone
	Active     int    // transfers under way now
}

// Server answers read requests. Its fields must not change once Serve is called.
type Server struct {
	// Open finds the file that a client means by a name. The name is 1 to 255 printable ASCII characters as the client wrote
	// them, slashes of both kinds included; it is not to be used as a path. An error that is fs.ErrNotExist is told to
	// the client as "file not found", one that is fs.ErrPermission as "access violation". Open may take its time; ctx ends
	// when the client starts again.
	Open func(ctx context.Context, client netip.AddrPort, name string) (File, error)
	// Sent is told of each transfer when it has ended, if it is not nil. It may be called by many goroutines at once.
	Sent func(Transfer)
	Log  *slog.Logger
	// Shown is a name as it gets into logs, if it is not nil: for names that hold what nobody else may know.
	Shown func(name string) string

	SinglePort bool // all transfers through the port that is asked (RFC 1350 wants a port for each)
	MaxBlock   int  // bytes: the largest blksize that is granted; raise it where all links carry jumbo frames
	MaxWindow  int  // blocks: the largest windowsize that is granted

	MaxTransfers int           // at once
	MaxPerClient int           // at once, of one address
	Timeout      time.Duration // until the first packet is sent again, for clients that ask for no other; it doubles then

	dial func(client netip.AddrPort, asked netip.Addr) (lineCloser, error) // for tests

	mu     sync.Mutex
	active map[netip.AddrPort]*transfer
	of     map[netip.Addr]*share
	silent list.List // of *transfer: those whose clients have not answered yet, the oldest first

	clients                                                   atomic.Int32 // that have transfers
	transfers, duplicates, refused, dropped, evicted, ignored atomic.Uint64
}

// transfer is one that is under way.
type transfer struct {
	request string // its packet
	cancel  context.CancelFunc
	sender  sender
	shared  *sharedLine // with SinglePort
	client  netip.AddrPort
	silent  *list.Element // while its client has not answered
	again   bool          // the request came again when all was sent: its client may have the file and want it once more
}

// Counters are the counts of now.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	active := len(s.active)
	s.mu.Unlock()
	return Counters{Active: active, Transfers: s.transfers.Load(), Duplicates: s.duplicates.Load(), Refused: s.refused.Load(),
		Dropped: s.dropped.Load(), Evicted: s.evicted.Load(), Ignored: s.ignored.Load()}
}

// Serve answers what comes to conn until ctx ends, and then ends its transfers. It may be called for several sockets. The
// caller closes conn. On UDP sockets, answers come from the address that was asked even if conn has no address of its own.
func (s *Server) Serve(ctx context.Context, conn net.PacketConn) error {
	if s.Open == nil {
		return errors.New("serve TFTP: Server.Open is not set, so there is no file to give")
	}
	p, err := newPort(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()

	buffer := make([]byte, receiveBuffer)
	for failed := 0; ; {
		n, client, asked, err := p.receive(buffer)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("serve TFTP on %s: the socket was closed: %w", conn.LocalAddr(), err)
		case err != nil:
			if failed++; failed == badReads {
				return fmt.Errorf("serve TFTP on %s: %w; see that its interface is up and start again", conn.LocalAddr(), err)
			}
			pause(ctx, badReadPause)
			continue
		}
		failed = 0
		s.packet(ctx, &running, p, buffer[:n], client, asked)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// packet takes one packet. It must not wait for anything.
func (s *Server) packet(ctx context.Context, running *sync.WaitGroup, p port, packet []byte, client netip.AddrPort, asked netip.Addr) {
	if !client.IsValid() || client.Port() == 0 || everyone(asked) { // RFC 1123 §4.2.3.4: a request to everyone is ignored
		s.ignored.Add(1)
		return
	}
	r, err := parseRequest(packet)
	if errors.Is(err, errNoRequest) {
		if !s.deliver(client, packet) {
			s.ignored.Add(1)
		}
		return
	}
	if err == nil && r.op == opWrite {
		err = &refusal{codeAccess, "files are only read here, never written"}
	}
	if no, ok := err.(*refusal); ok {
		s.refused.Add(1)
		s.log().Debug("a TFTP request was refused", "client", client, "why", no.text)
		_ = p.send(appendError(nil, no), client, asked) // the client asks again if it is lost
		return
	}
	var shared *sharedLine
	if s.SinglePort {
		shared = newSharedLine(p, client, asked)
	}
	t, inside := s.admit(ctx, packet, client, shared)
	if t == nil {
		return
	}
	running.Go(func() {
		s.report(s.serve(inside, t, r, client, asked))
		if s.forget(t, client) {
			s.packet(ctx, running, p, []byte(t.request), client, asked)
		}
	})
}

func everyone(asked netip.Addr) bool {
	return asked.IsMulticast() || asked == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// deliver gives a packet to the transfer that it belongs to.
func (s *Server) deliver(client netip.AddrPort, packet []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.active[client]
	if t == nil || t.shared == nil {
		return false
	}
	t.shared.deliver(append([]byte{}, packet...))
	return true
}

// serve is a transfer from its request to its end.
func (s *Server) serve(ctx context.Context, t *transfer, r request, client netip.AddrPort, asked netip.Addr) Transfer {
	start := time.Now()
	done := Transfer{Client: client, Asked: asked, Name: r.name}
	l, err := s.connect(t, client, asked)
	if err == nil {
		end := context.AfterFunc(ctx, func() { l.Close() })
		done.Err = s.send(ctx, t, r, l, &done)
		if end() {
			l.Close()
		}
	} else {
		done.Err = fmt.Errorf("connect to %s: %w", client, err)
	}
	if ctx.Err() != nil && done.Err != nil {
		done.Err = fmt.Errorf("%w: the client began anew, or the server ends", context.Canceled)
	}
	done.Duration = time.Since(start)
	return done
}

func (s *Server) connect(t *transfer, client netip.AddrPort, asked netip.Addr) (lineCloser, error) {
	if t.shared != nil {
		return t.shared, nil
	}
	if s.dial != nil {
		return s.dial(client, asked)
	}
	return dial(client, asked)
}

// send opens the file and sends it. Errors are told to the client.
func (s *Server) send(ctx context.Context, t *transfer, r request, l line, done *Transfer) error {
	file, err := s.Open(ctx, done.Client, r.name)
	if err != nil {
		_, _ = l.Write(appendError(nil, told(err)))
		return err
	}
	defer file.Close()
	s.prepare(t, r, l, file, done.Client)
	err = t.sender.run()
	x := &t.sender
	done.Size, done.Bytes, done.Block, done.Window, done.Resent = x.size, x.bytes(), x.block, x.window, x.resent
	gaveUp, ended := err.(*refusal)
	ended = ended || errors.Is(err, errGone)
	switch {
	case err == nil:
	case ended && x.probed():
		done.Probe = true
		return nil
	case gaveUp != nil:
		return fmt.Errorf("the client gave up: %s (TFTP error %d)", gaveUp.text, gaveUp.code)
	case !ended && !errors.Is(err, errSilent):
		_, _ = l.Write(appendError(nil, &refusal{codeOther, "the file cannot be read; ask another server"}))
	}
	return err
}

func (s *Server) prepare(t *transfer, r request, l line, file File, client netip.AddrPort) {
	block := either(s.MaxBlock, DefaultBlock)
	if block <= DefaultBlock && client.Addr().Is6() {
		block = min(block, DefaultBlock-20)
	}
	x := &t.sender
	x.line, x.file, x.size, x.first = l, file, file.Size(), either(s.Timeout, DefaultTimeout)
	x.terms = agree(r.options, x.size, block, either(s.MaxWindow, DefaultWindow))
}

// told is what a client is told of an error of Open: no details, which may be nobody's business.
func told(err error) *refusal {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &refusal{codeNotFound, "there is no file of that name"}
	case errors.Is(err, fs.ErrPermission):
		return &refusal{codeAccess, "the file is not for this machine"}
	}
	return &refusal{codeOther, "the file cannot be had now; ask again later"}
}

// report tells of a transfer that ended.
func (s *Server) report(done Transfer) {
	name := done.Name
	if s.Shown != nil {
		name = s.Shown(name)
	}
	attrs := []any{"client", done.Client, "name", name, "bytes", done.Bytes, "block", done.Block, "window", done.Window,
		"resent", done.Resent, "ms", done.Duration.Milliseconds()}
	switch {
	case done.Probe:
		s.log().Debug("told a file's size by TFTP", attrs...)
	case done.Err != nil:
		s.log().Info("a TFTP transfer failed", append(attrs, "error", done.Err)...)
	default:
		s.log().Info("sent by TFTP", attrs...)
	}
	if s.Sent != nil {
		s.Sent(done)
	}
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

// either is a setting, or its default when it is not set.
func either[T int | time.Duration](set, otherwise T) T {
	if set > 0 {
		return set
	}
	return otherwise
}
