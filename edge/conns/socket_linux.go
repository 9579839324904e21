package conns

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent is how much of what was written the kernel holds at most that cannot be on its way yet, in bytes. It keeps a socket from
// taking megabytes which are then out of reach; the connection loses nothing, as the kernel asks for more in time.
const unsent = 1 << 20

func prepare(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // where the kernel cannot do it, its buffers are larger
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
	})
}

// Queued is how many bytes of a connection its client has not acknowledged; ok is false where nobody knows.
func Queued(c net.Conn) (bytes int, ok bool) {
	s, is := c.(syscall.Conn)
	if !is {
		return 0, false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, false
	}
	if raw.Control(func(fd uintptr) { bytes, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) != nil || err != nil {
		return 0, false
	}
	return bytes, true
}
