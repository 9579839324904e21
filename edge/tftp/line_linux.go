package tftp

import (
	"encoding/binary"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
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

// WriteSegments implements segmenter: the kernel makes packets of what it is given (UDP_SEGMENT, udp(7)), as late as it can.
func (l *udpLine) WriteSegments(b []byte, size int) error {
	if l.segment == nil {
		l.segment = make([]byte, unix.CmsgSpace(2))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&l.segment[0]))
		h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
	}
	binary.NativeEndian.PutUint16(l.segment[unix.CmsgLen(0):], uint16(size))
	_, _, err := l.WriteMsgUDPAddrPort(b, l.segment, noAddress)
	return err
}
