package tftp

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// port is the socket that requests come to. It knows which of the machine's addresses was asked, where the kernel says so.
type port interface {
	// receive reads a packet; asked is not valid when it is unknown.
	receive(b []byte) (n int, client netip.AddrPort, asked netip.Addr, err error)
	// send sends from an address, or from any when it is not valid.
	send(b []byte, client netip.AddrPort, from netip.Addr) error
}

// newPort wraps a socket. Of anything else than UDP sockets the asked address is not known.
func newPort(conn net.PacketConn) (port, error) {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return plainPort{conn}, nil
	}
	local, err := netip.ParseAddrPort(udp.LocalAddr().String())
	if err == nil && local.Addr().Is4() {
		err = ipv4.NewPacketConn(udp).SetControlMessage(ipv4.FlagDst, true)
	} else if err == nil {
		err = ipv6.NewPacketConn(udp).SetControlMessage(ipv6.FlagDst, true)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the kernel which address packets to %s are for: %w", udp.LocalAddr(), err)
	}
	return &udpPort{udp, local.Addr().Is4(), make([]byte, 128)}, nil
}

type plainPort struct{ net.PacketConn }

func (p plainPort) receive(b []byte) (int, netip.AddrPort, netip.Addr, error) {
	n, from, err := p.ReadFrom(b)
	return n, addrPort(from), netip.Addr{}, err
}

func (p plainPort) send(b []byte, client netip.AddrPort, _ netip.Addr) error {
	_, err := p.WriteTo(b, net.UDPAddrFromAddrPort(client))
	return err
}

// udpPort is a UDP socket of IPv4, of IPv6 or of both.
type udpPort struct {
	*net.UDPConn
	only4 bool
	oob   []byte // of what is received
}

func (p *udpPort) receive(b []byte) (int, netip.AddrPort, netip.Addr, error) {
	n, control, _, from, err := p.ReadMsgUDPAddrPort(b, p.oob)
	if err != nil {
		return 0, netip.AddrPort{}, netip.Addr{}, err
	}
	var to net.IP
	if p.only4 {
		var m ipv4.ControlMessage
		err, to = m.Parse(p.oob[:control]), m.Dst
	} else {
		var m ipv6.ControlMessage
		err, to = m.Parse(p.oob[:control]), m.Dst
	}
	asked, _ := netip.AddrFromSlice(to)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), asked.Unmap(), err
}

func (p *udpPort) send(b []byte, client netip.AddrPort, from netip.Addr) error {
	var control []byte
	switch {
	case from.Is4(): // also on a socket of both
		control = (&ipv4.ControlMessage{Src: from.AsSlice()}).Marshal()
	case from.Is6():
		control = (&ipv6.ControlMessage{Src: from.AsSlice()}).Marshal()
	}
	_, _, err := p.WriteMsgUDPAddrPort(b, control, client)
	return err
}

func addrPort(a net.Addr) netip.AddrPort {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := udp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// dial makes a line on a port of its own, from the address that was asked.
func dial(client netip.AddrPort, asked netip.Addr) (lineCloser, error) {
	var local *net.UDPAddr
	if asked.IsValid() {
		if asked.Is6() && asked.IsLinkLocalUnicast() {
			asked = asked.WithZone(client.Addr().Zone())
		}
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(asked, 0))
	}
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(client))
	if err != nil {
		return nil, err
	}
	if client.Addr().Is4() {
		whole(conn)
	}
	return &udpLine{UDPConn: conn}, nil
}

// udpLine is a socket of its own.
type udpLine struct {
	*net.UDPConn
	segment []byte // what the kernel is told with several packets
}

// noAddress is where a connected socket sends to.
var noAddress netip.AddrPort

// lineCloser is a line that somebody else may close to end the transfer.
type lineCloser interface {
	line
	Close() error
}

// sharedLine is a client's part of the server's own port.
type sharedLine struct {
	port   port
	client netip.AddrPort
	asked  netip.Addr

	in     chan []byte // packets of this client; those that nobody waits for are lost
	until  time.Time
	closed chan struct{}
	once   sync.Once
}

func newSharedLine(p port, client netip.AddrPort, asked netip.Addr) *sharedLine {
	return &sharedLine{port: p, client: client, asked: asked, in: make(chan []byte, 8), closed: make(chan struct{})}
}

// deliver gives the line a packet that came to the port.
func (l *sharedLine) deliver(packet []byte) {
	select {
	case l.in <- packet:
	default:
	}
}

// Read reads one packet.
func (l *sharedLine) Read(b []byte) (int, error) {
	timer := time.NewTimer(time.Until(l.until))
	defer timer.Stop()
	select {
	case packet := <-l.in:
		return copy(b, packet), nil
	case <-l.closed:
		return 0, net.ErrClosed
	case <-timer.C:
		return 0, os.ErrDeadlineExceeded
	}
}

// Write sends one packet.
func (l *sharedLine) Write(b []byte) (int, error) {
	select {
	case <-l.closed:
		return 0, net.ErrClosed
	default:
	}
	return len(b), l.port.send(b, l.client, l.asked)
}

// SetReadDeadline is for the goroutine that reads.
func (l *sharedLine) SetReadDeadline(t time.Time) error {
	l.until = t
	return nil
}

// Close ends reads and writes. The port stays open.
func (l *sharedLine) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}
