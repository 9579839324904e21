package tftp

import (
	"net"
	"syscall"
)

// whole lets routers split packets on the way. A boot ROM behind a tunnel gets its file slowly then, instead of never
// where nobody hears that packets are too big. Without it transfers work all the same, on most networks.
func whole(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, syscall.IP_PMTUDISC_DONT)
	})
}
