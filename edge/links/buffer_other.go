//go:build !linux

package links

import "net"

// Buffer has a socket hold what some thousand machines send that are switched on at once, as far as the system lets us.
func Buffer(conn *net.UDPConn) {
	_ = conn.SetReadBuffer(receiveBuffer) // what there is will do
}
