package dhcpsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

const (
	receiveBuffer = 16 << 20 // bytes: answers to all machines at once
	longest       = 2048
	backlog       = 1 << 15 // packets
)

// Network is where machines are, of one family.
type Network struct {
	Name   string
	Prefix netip.Prefix
	Relay  netip.Addr // the agent's address in it; not valid: machines are on the servers' segment
	// Circuit is what the agent says of itself in option 82, or that of IPv6 in option 18; empty: it adds none.
	Circuit string
	// Hardware has the agent of IPv6 say which hardware addresses its machines have (RFC 6939).
	Hardware bool
}

func (n Network) six() bool { return n.Prefix.Addr().Is6() }

// Host is a part of the machine's network that sockets are opened in.
type Host interface {
	Do(func() error) error
	IP(args ...string) error
}

// Wire is the sockets of a relay agent, of the machines behind it, and of those on a segment.
type Wire struct {
	relays  map[string]*net.UDPConn // by network; port 67 of the agent's address
	clients *net.UDPConn            // port 68 of all addresses behind the agent
	segment *os.File                // frames
	servers []netip.Addr
	in      chan inbound

	agent6   *net.UDPConn // port 547 of all addresses of the agent
	servers6 []netip.Addr
	readers  sync.WaitGroup

	mu   sync.Mutex // guards macs
	macs map[netip.Addr]history.MAC
}

// inbound is something that came.
type inbound struct {
	heard
	relay string // network of the agent's socket; empty for others
	six   bool
}

// Open makes the host a relay agent for networks, and floor the place of machines on the segment; it may be nil. Servers
// must have routes to the networks of IPv4 through the host, which must have addresses in the networks of IPv6 that they are in.
func Open(host, floor Host, servers []netip.Addr, networks ...Network) (*Wire, error) {
	w := &Wire{relays: map[string]*net.UDPConn{}, in: make(chan inbound, backlog), macs: map[netip.Addr]history.MAC{}}
	w.serve(servers)
	err := w.open(host, floor, networks)
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// serve says which servers there are, of both families.
func (w *Wire) serve(servers []netip.Addr) {
	w.servers, w.servers6 = nil, nil
	for _, a := range servers {
		if a.Is4() {
			w.servers = append(w.servers, a)
		} else {
			w.servers6 = append(w.servers6, a)
		}
	}
}

func (w *Wire) open(host, floor Host, networks []Network) error {
	behind, _ := places(networks, false)
	for _, n := range behind {
		// All of the network is this host: it sends and receives for every machine behind it.
		if err := host.IP("route", "replace", "local", n.Prefix.String(), "dev", "lo"); err != nil {
			return err
		}
	}
	err := host.Do(func() error {
		// Otherwise it would answer who asks whether an address is in use, for addresses that no machine has.
		if err := os.WriteFile("/proc/sys/net/ipv4/icmp_echo_ignore_all", []byte("1"), 0); err != nil {
			return err
		}
		var err error
		for _, n := range behind {
			if w.relays[n.Name], err = listen(n.Relay.String() + ":67"); err != nil {
				return err
			}
		}
		w.clients, err = listen("0.0.0.0:68")
		return err
	})
	if err != nil {
		return err
	}
	for name, conn := range w.relays {
		w.readers.Go(func() { w.read(conn, inbound{relay: name}) })
	}
	w.readers.Go(func() { w.read(w.clients, inbound{}) })
	if relayed, _ := places(networks, true); len(relayed) > 0 {
		if err := w.open6(host); err != nil {
			return err
		}
		w.readers.Go(func() { w.read(w.agent6, inbound{six: true}) })
	}
	if floor == nil {
		return nil
	}
	if err := floor.Do(func() (err error) { w.segment, err = openSegment("eth0"); return err }); err != nil {
		return err
	}
	w.readers.Go(w.readSegment)
	return nil
}

func listen(address string) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
		}), err)
	}}
	conn, err := config.ListenPacket(context.Background(), "udp4", address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// openSegment hears all frames of an interface.
func openSegment(name string) (*os.File, error) {
	nic, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
	if err != nil {
		return nil, fmt.Errorf("a socket for frames: %w", err)
	}
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: nic.Index}),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(nic.Index), Type: unix.PACKET_MR_PROMISC}))
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("hear all frames of %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// read takes what comes to a socket; as says which one it is.
func (w *Wire) read(conn *net.UDPConn, as inbound) {
	buffer := make([]byte, longest)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			as.payload, as.from = append([]byte{}, buffer[:n]...), from.Addr().Unmap().WithZone("")
			w.in <- as
		}
	}
}

func (w *Wire) readSegment() {
	buffer := make([]byte, longest)
	for {
		n, err := w.segment.Read(buffer)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if h, ok := unframe6(buffer[:n]); ok && !simulated(h.mac) {
			h.payload = append([]byte{}, h.payload...)
			w.in <- inbound{heard: h, six: true}
			continue
		}
		if h, ok := unframe(buffer[:n]); ok && !simulated(h.mac) {
			h.payload = append([]byte{}, h.payload...)
			w.mu.Lock()
			w.macs[h.from] = h.mac
			w.mu.Unlock()
			w.in <- inbound{heard: h}
		}
	}
}

// broadcast sends what a machine says to everybody on its network. The agent passes it on to all servers.
func (w *Wire) broadcast(n Network, mac history.MAC, payload []byte) {
	if !n.Relay.IsValid() {
		w.segment.Write(datagram(everybody, mac, everyone, nobody, payload)) // packets get lost
		return
	}
	payload = relayed(payload, n.Relay, []byte(n.Circuit))
	for _, server := range w.servers {
		w.relays[n.Name].WriteToUDPAddrPort(payload, netip.AddrPortFrom(server, 67))
	}
}

// unicast sends what a machine says to a server, from its address.
func (w *Wire) unicast(n Network, mac history.MAC, from, server netip.Addr, payload []byte) {
	if n.Relay.IsValid() {
		control := ipv4.ControlMessage{Src: from.AsSlice()}
		w.clients.WriteMsgUDPAddrPort(payload, control.Marshal(), netip.AddrPortFrom(server, 67))
		return
	}
	w.mu.Lock()
	to, ok := w.macs[server]
	w.mu.Unlock()
	if ok {
		w.segment.Write(datagram(to, mac, server, from, payload))
	}
}

// raw sends something from the agent to all servers, as it is.
func (w *Wire) raw(n Network, payload []byte) {
	for _, server := range w.servers {
		w.relays[n.Name].WriteToUDPAddrPort(payload, netip.AddrPortFrom(server, 67))
	}
}

// Close ends it. Nobody may use it any more.
func (w *Wire) Close() {
	for _, c := range w.relays {
		if c != nil {
			c.Close()
		}
	}
	for _, c := range []*net.UDPConn{w.clients, w.agent6} {
		if c != nil {
			c.Close()
		}
	}
	if w.segment != nil {
		w.segment.Close()
	}
	done := make(chan struct{})
	go func() { w.readers.Wait(); close(done) }()
	for {
		select {
		case <-w.in:
		case <-done:
			return
		}
	}
}
