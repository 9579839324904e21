//go:build !linux

package conns

import "net"

func prepare(*net.TCPConn) {}

// Queued is a matter of Linux.
func Queued(net.Conn) (bytes int, ok bool) { return 0, false }
