package dhcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/edge/links"
)

const addressesFor = 2 * time.Second

// ethernet is an interface of this machine.
type ethernet struct {
	name  string
	index int
	socks []port
	raw   int // a packet socket for sending, or -1

	mu    sync.Mutex
	own   []netip.Prefix
	until time.Time // that own is true
}

// openLink opens the sockets on an interface.
func openLink(name string) (link, error) {
	nic, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("answer DHCP on the interface %q: %w; `ip link` lists those that there are", name, err)
	}
	e := &ethernet{name: name, index: nic.Index, raw: -1}
	for _, number := range []int{ServerPort, BootPort} {
		s, err := e.listen(number)
		if err != nil {
			e.Close()
			return nil, err
		}
		e.socks = append(e.socks, s)
	}
	// Without CAP_NET_RAW there is none, and clients without an address are answered by broadcast.
	if fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err == nil {
		e.raw = fd
	}
	return e, nil
}

// listen opens a UDP socket that hears the interface only, and broadcasts on it only.
func (e *ethernet) listen(number int) (*udpPort, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		control := raw.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), // several interfaces, one port
				unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, e.name))
		})
		return errors.Join(control, err)
	}}
	conn, err := config.ListenPacket(context.Background(), "udp4", fmt.Sprintf(":%d", number))
	if err != nil {
		return nil, fmt.Errorf("listen for DHCP on port %d of %s: %w; it needs CAP_NET_BIND_SERVICE, and no other DHCP server may be on this port", number, e.name, err)
	}
	udp := conn.(*net.UDPConn)
	links.Buffer(udp)
	if err := ipv4.NewPacketConn(udp).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		udp.Close()
		return nil, fmt.Errorf("ask the kernel which address packets on %s are for: %w", e.name, err)
	}
	return &udpPort{link: e, number: number, conn: udp, oob: make([]byte, 128)}, nil
}

func (e *ethernet) ports() []port { return e.socks }

func (e *ethernet) Changed() bool {
	nic, err := net.InterfaceByName(e.name)
	return err != nil || nic.Index != e.index
}

// addresses asks the kernel at most every two seconds.
func (e *ethernet) addresses() []netip.Prefix {
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Now().Before(e.until) {
		return e.own
	}
	nic, err := net.InterfaceByIndex(e.index)
	if err != nil {
		return nil
	}
	addrs, err := nic.Addrs()
	if err != nil {
		return nil
	}
	e.own = nil
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLinkLocalUnicast() { // no machine is told to ask the metadata address for a lease
			e.own = append(e.own, p)
		}
	}
	e.until = time.Now().Add(addressesFor)
	return e.own
}

func (e *ethernet) Close() {
	for _, p := range e.socks {
		p.(*udpPort).conn.Close()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.raw >= 0 {
		unix.Close(e.raw)
		e.raw = -1
	}
}

// udpPort is a UDP socket of an interface.
type udpPort struct {
	link   *ethernet
	number int
	conn   *net.UDPConn
	oob    []byte // of what is received
}

func (p *udpPort) receive(b []byte) (int, Ingress, error) {
	n, control, _, from, err := p.conn.ReadMsgUDPAddrPort(b, p.oob)
	if err != nil {
		return 0, Ingress{}, err
	}
	in := Ingress{Interface: p.link.name, Index: p.link.index, Port: p.number, From: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
	var m ipv4.ControlMessage
	if m.Parse(p.oob[:control]) == nil {
		in.To, _ = netip.AddrFromSlice(m.Dst.To4())
	}
	return n, in, nil
}

func (p *udpPort) send(packet []byte, to Destination, from netip.Addr) error {
	if len(to.MAC) == 6 {
		if err := p.link.sendRaw(packet, to, netip.AddrPortFrom(from, uint16(p.number))); err == nil {
			return nil
		}
		to.Addr = netip.AddrPortFrom(broadcast, to.Addr.Port()) // which it hears too
	}
	control := ipv4.ControlMessage{Src: from.AsSlice(), IfIndex: p.link.index}
	_, _, err := p.conn.WriteMsgUDPAddrPort(packet, control.Marshal(), to.Addr)
	return err
}

var errNoRaw = errors.New("there is no packet socket: it needs CAP_NET_RAW")

// sendRaw sends to a hardware address.
func (e *ethernet) sendRaw(packet []byte, to Destination, from netip.AddrPort) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.raw < 0 {
		return errNoRaw
	}
	where := unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff}), Ifindex: e.index, Halen: 6}
	copy(where.Addr[:], to.MAC)
	return unix.Sendto(e.raw, datagram(from, to.Addr, packet), 0, &where)
}
