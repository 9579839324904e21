package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/edge/links"
)

// groups are where clients and relays find servers (RFC 8415 §7.1).
var groups = []string{"ff02::1:2", "ff05::1:3"}

// nic is an interface of this machine with a socket.
type nic struct {
	name  string
	index int
	conn  *net.UDPConn
	oob   []byte // of what is received
}

// openLink opens the socket on an interface: it hears that one only, and sends on it only.
func openLink(name string) (link, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("answer DHCPv6 on the interface %q: %w; `ip link` lists those that there are", name, err)
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		control := raw.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), // several interfaces, one port
				unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name))
		})
		return errors.Join(control, err)
	}}
	conn, err := config.ListenPacket(context.Background(), "udp6", fmt.Sprintf("[::]:%d", ServerPort))
	if err != nil {
		return nil, fmt.Errorf("listen for DHCPv6 on port %d of %s: %w; it needs CAP_NET_BIND_SERVICE, and no other DHCPv6 server may be on this port", ServerPort, name, err)
	}
	udp := conn.(*net.UDPConn)
	links.Buffer(udp)
	p := ipv6.NewPacketConn(udp)
	err = errors.Join(p.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true), p.SetMulticastLoopback(false))
	for _, group := range groups {
		err = errors.Join(err, p.JoinGroup(i, &net.UDPAddr{IP: net.ParseIP(group)}))
	}
	if err != nil {
		udp.Close()
		return nil, fmt.Errorf("listen for DHCPv6 on %s: %w; see that IPv6 is not turned off on it", name, err)
	}
	return &nic{name: name, index: i.Index, conn: udp, oob: make([]byte, 128)}, nil
}

func (n *nic) receive(b []byte) (int, Ingress, error) {
	size, control, _, from, err := n.conn.ReadMsgUDPAddrPort(b, n.oob)
	if err != nil {
		return 0, Ingress{}, err
	}
	in := Ingress{Interface: n.name, Index: n.index, From: from}
	var m ipv6.ControlMessage
	if m.Parse(n.oob[:control]) == nil {
		in.To, _ = netip.AddrFromSlice(m.Dst)
	}
	return size, in, nil
}

// send answers from the address that was asked, if it was one of ours, and otherwise from the one that the kernel takes for it.
func (n *nic) send(packet []byte, to netip.AddrPort, from netip.Addr) error {
	control := ipv6.ControlMessage{IfIndex: n.index}
	if from.IsValid() && !from.IsMulticast() {
		control.Src = from.AsSlice()
	}
	_, _, err := n.conn.WriteMsgUDPAddrPort(packet, control.Marshal(), to)
	return err
}

func (n *nic) Changed() bool {
	i, err := net.InterfaceByName(n.name)
	return err != nil || i.Index != n.index
}

func (n *nic) Close() { n.conn.Close() }
