package links

import (
	"net"

	"golang.org/x/sys/unix"
)

// Buffer has a socket hold what some thousand machines send that are switched on at once: beyond what the host lets everybody have
// (net.core.rmem_max, 208 KiB by default) with CAP_NET_ADMIN, and as far as it lets us without.
func Buffer(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err == nil {
		control := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
		})
		if control == nil && err == nil {
			return
		}
	}
	_ = conn.SetReadBuffer(receiveBuffer) // what there is will do
}
