package links

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSocketsHoldAStorm(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	size := func() (n int) {
		t.Helper()
		raw, err := conn.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) })
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := size()
	Buffer(conn)
	got := size()
	if got < before {
		t.Errorf("the buffer went from %d to %d bytes", before, got)
	}
	if unix.Geteuid() == 0 && got < receiveBuffer {
		t.Errorf("as root: got %d bytes, want %d", got, receiveBuffer)
	}
}
