//go:build !linux

package tftp

import "net"

// whole is a matter of Linux's sockets.
func whole(*net.UDPConn) {}

// WriteSegments is a matter of Linux.
func (l *udpLine) WriteSegments([]byte, int) error { return errNoSegments }
