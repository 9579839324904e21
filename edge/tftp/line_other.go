//go:build !linux

package tftp

import (
	"errors"
	"net"
)

// errNoSegments is of a line that cannot send several packets in one call.
var errNoSegments = errors.New("packets are sent one by one")

// whole is a matter of Linux's sockets.
func whole(*net.UDPConn) {}

// WriteSegments is a matter of Linux.
func (l *udpLine) WriteSegments([]byte, int) error { return errNoSegments }
