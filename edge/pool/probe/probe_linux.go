package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Default is how long an answer is waited for.
const Default = 200 * time.Millisecond

const (
	maxProbes = 4096 // under way; beyond, addresses are offered unasked
	arpLen    = 28
)

// Net asks by ARP on the segment (RFC 5227 §2.1.1), and by ICMP echo where there are routers between.
type Net struct {
	wait time.Duration
	arp  *os.File
	echo *icmp.PacketConn
	id   int
	seq  atomic.Uint32
	done sync.WaitGroup

	mu      sync.Mutex // guards waiting
	waiting map[netip.Addr][]chan struct{}
}

// Open needs CAP_NET_RAW.
func Open(wait time.Duration) (*Net, error) {
	p := &Net{wait: wait, id: os.Getpid() & 0xffff, waiting: map[netip.Addr][]chan struct{}{}}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(swap(unix.ETH_P_ARP)))
	if err != nil {
		return nil, fmt.Errorf("open a socket for ARP: %w; it needs CAP_NET_RAW", err)
	}
	p.arp = os.NewFile(uintptr(fd), "arp")
	if p.echo, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0"); err != nil {
		p.arp.Close()
		return nil, fmt.Errorf("open a socket for ICMP: %w; it needs CAP_NET_RAW", err)
	}
	p.done.Go(p.hearARP)
	p.done.Go(p.hearEcho)
	return p, nil
}

func swap(n uint16) uint16 { return binary.NativeEndian.Uint16([]byte{byte(n >> 8), byte(n)}) }

// Close ends it.
func (p *Net) Close() error {
	p.arp.Close()
	p.echo.Close()
	p.done.Wait()
	return nil
}

// Used implements Prober.
func (p *Net) Used(ctx context.Context, address netip.Addr, nic string, relayed bool) bool {
	heard := make(chan struct{})
	p.mu.Lock()
	if len(p.waiting) >= maxProbes {
		p.mu.Unlock()
		return false
	}
	p.waiting[address] = append(p.waiting[address], heard)
	p.mu.Unlock()
	defer p.leave(address, heard)
	var err error
	if relayed {
		err = p.ping(address)
	} else {
		err = p.ask(address, nic)
	}
	if err != nil {
		return false
	}
	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	select {
	case <-heard:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (p *Net) leave(address netip.Addr, heard chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := p.waiting[address][:0]
	for _, c := range p.waiting[address] {
		if c != heard {
			rest = append(rest, c)
		}
	}
	if p.waiting[address] = rest; len(rest) == 0 {
		delete(p.waiting, address)
	}
}

func (p *Net) tell(address netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.waiting[address] {
		close(c)
	}
	delete(p.waiting, address)
}

// ask sends an ARP probe: whoever has the address answers, and nobody learns a wrong one from it.
func (p *Net) ask(address netip.Addr, name string) error {
	nic, err := net.InterfaceByName(name)
	if err != nil || len(nic.HardwareAddr) != 6 {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	b := make([]byte, 0, arpLen)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, a request
	b = append(b, nic.HardwareAddr...)
	b = append(b, 0, 0, 0, 0)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = append(b, address.AsSlice()...)
	to := unix.SockaddrLinklayer{Protocol: swap(unix.ETH_P_ARP), Ifindex: nic.Index, Halen: 6}
	for i := range 6 {
		to.Addr[i] = 0xff
	}
	return p.control(func(fd int) error { return unix.Sendto(fd, b, 0, &to) })
}

func (p *Net) control(f func(fd int) error) error {
	raw, err := p.arp.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = f(int(fd)) }); err != nil {
		return err
	}
	return sent
}

func (p *Net) hearARP() {
	b := make([]byte, 128)
	for {
		n, err := p.arp.Read(b)
		if err != nil {
			if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(Default) // an interface went down
			continue
		}
		if n < arpLen || b[2] != 8 || b[3] != 0 || b[4] != 6 || b[5] != 4 {
			continue
		}
		if sender := netip.AddrFrom4([4]byte(b[14:18])); !sender.IsUnspecified() {
			p.tell(sender)
		}
	}
}

func (p *Net) ping(address netip.Addr) error {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: p.id, Seq: int(p.seq.Add(1) & 0xffff), Data: []byte("kiln")}}
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	_, err = p.echo.WriteTo(b, &net.IPAddr{IP: address.AsSlice()})
	return err
}

func (p *Net) hearEcho() {
	b := make([]byte, 1500)
	for {
		n, from, err := p.echo.ReadFrom(b)
		if err != nil {
			if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(Default)
			continue
		}
		m, err := icmp.ParseMessage(1, b[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
			continue
		}
		if a, ok := from.(*net.IPAddr); ok {
			if address, ok := netip.AddrFromSlice(a.IP.To4()); ok {
				p.tell(address)
			}
		}
	}
}
