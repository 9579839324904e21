package tftp

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// network carries packets in memory, badly if told to. Inside a synctest bubble its delays take no time.
type network struct {
	rate                 float64       // bytes a second that go from the server's address; 0: all at once
	free                 time.Time     // of the line there
	delay, jitter        time.Duration // of each packet: delay to delay+jitter, so that jitter reorders
	loss, twice          float64       // shares of packets
	fate                 func(from, to netip.AddrPort, packet []byte) (copies int)
	mu                   sync.Mutex
	latest               time.Time // arrival
	random               *rand.Rand
	ends                 map[netip.AddrPort]*end
	next                 uint16
	sent, lost, repeated int
	packetsTo, bytesTo   map[netip.Addr]int
}

func newNetwork(seed uint64) *network {
	return &network{random: rand.New(rand.NewPCG(seed, 1)), ends: map[netip.AddrPort]*end{}, next: 40000,
		packetsTo: map[netip.Addr]int{}, bytesTo: map[netip.Addr]int{}}
}

// end is a socket on a network.
type end struct {
	network *network
	at      netip.AddrPort
	peer    netip.AddrPort // of connected ends
	in      chan packet
	closed  chan struct{}

	mu      sync.Mutex
	until   time.Time
	changed chan struct{} // closed when until changes
}

type packet struct {
	from netip.AddrPort
	data []byte
}

// listen opens a socket; port 0 is any.
func (n *network) listen(addr string, port uint16) *end {
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == 0 {
		n.next++
		port = n.next
	}
	e := &end{network: n, at: netip.AddrPortFrom(netip.MustParseAddr(addr), port), in: make(chan packet, 4096),
		closed: make(chan struct{}), changed: make(chan struct{})}
	n.ends[e.at] = e
	return e
}

// forge makes a socket of an address to which nothing comes.
func (n *network) forge(a netip.Addr) *end {
	return &end{network: n, at: netip.AddrPortFrom(a, 2070), closed: make(chan struct{})}
}

// dial opens a socket that hears only its peer, as the server's own do.
func (n *network) dial(addr string, peer netip.AddrPort) *end {
	e := n.listen(addr, 0)
	e.peer = peer
	return e
}

func (n *network) carry(from, to netip.AddrPort, data []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent++
	n.packetsTo[to.Addr()]++
	n.bytesTo[to.Addr()] += len(data)
	copies := 1
	if n.random.Float64() < n.loss {
		copies = 0
		n.lost++
	} else if n.random.Float64() < n.twice {
		copies = 2
		n.repeated++
	}
	if n.fate != nil {
		copies = n.fate(from, to, data)
	}
	for range copies {
		p := packet{from, append([]byte{}, data...)}
		at := time.Now().Add(n.delay)
		if n.rate > 0 && from.Addr().String() == serverAddr {
			if n.free.Before(time.Now()) {
				n.free = time.Now()
			}
			n.free = n.free.Add(time.Duration(float64(len(data)) / n.rate * float64(time.Second)))
			at = n.free.Add(n.delay)
		}
		if n.jitter > 0 {
			at = at.Add(time.Duration(n.random.Int64N(int64(n.jitter))))
		} else if !at.After(n.latest) { // timers that end at once end in any order
			at = n.latest.Add(1)
		}
		n.latest = at
		time.AfterFunc(time.Until(at), func() { n.arrive(to, p) })
	}
	return nil
}

func (n *network) arrive(to netip.AddrPort, p packet) {
	n.mu.Lock()
	e := n.ends[to]
	n.mu.Unlock()
	if e == nil || e.peer.IsValid() && e.peer != p.from {
		return
	}
	select {
	case e.in <- p:
	default:
	}
}

func (e *end) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		e.mu.Lock()
		until, changed := e.until, e.changed
		e.mu.Unlock()
		var late <-chan time.Time
		if !until.IsZero() {
			timer := time.NewTimer(time.Until(until))
			defer timer.Stop()
			late = timer.C
		}
		select {
		case p := <-e.in:
			return copy(b, p.data), net.UDPAddrFromAddrPort(p.from), nil
		case <-e.closed:
			return 0, nil, net.ErrClosed
		case <-late:
			return 0, nil, os.ErrDeadlineExceeded
		case <-changed:
		}
	}
}

func (e *end) Read(b []byte) (int, error) {
	n, _, err := e.ReadFrom(b)
	return n, err
}

func (e *end) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-e.closed:
		return 0, net.ErrClosed
	default:
	}
	return len(b), e.network.carry(e.at, addrPort(to), b)
}

func (e *end) Write(b []byte) (int, error) { return e.WriteTo(b, net.UDPAddrFromAddrPort(e.peer)) }

func (e *end) Close() error {
	e.network.mu.Lock()
	defer e.network.mu.Unlock()
	if e.network.ends[e.at] != e {
		return errors.New("closed twice")
	}
	delete(e.network.ends, e.at)
	close(e.closed)
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.until = t
	close(e.changed)
	e.changed = make(chan struct{})
	return nil
}

func (e *end) SetDeadline(t time.Time) error    { return e.SetReadDeadline(t) }
func (e *end) SetWriteDeadline(time.Time) error { return nil }
func (e *end) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(e.at) }
