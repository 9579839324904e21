package dhcpsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/internal/dhcpsim/history"
)

// open6 opens the relay agent's socket. Machines of IPv6 have no sockets of their own: all that they say goes to all servers.
func (w *Wire) open6(host Host) error {
	return host.Do(func() (err error) {
		w.agent6, err = listen6(fmt.Sprintf("[::]:%d", theirPort))
		return err
	})
}

func listen6(address string) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1))
		}), err)
	}}
	conn, err := config.ListenPacket(context.Background(), "udp6", address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// send6 sends what a machine says to all servers, from its address of the link. The agent passes it on.
func (w *Wire) send6(n Network, mac history.MAC, from netip.Addr, m dhcpv6.DHCPv6) {
	if !n.Relay.IsValid() {
		w.segment.Write(datagram6(mac, from, m.ToBytes())) // packets get lost
		return
	}
	w.raw6(relayed6(m, n, mac, from).ToBytes())
}

// raw6 sends something from the agent to all servers, as it is.
func (w *Wire) raw6(payload []byte) {
	for _, server := range w.servers6 {
		w.agent6.WriteToUDPAddrPort(payload, netip.AddrPortFrom(server, theirPort))
	}
}
