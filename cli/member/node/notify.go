package node

import (
	"fmt"
	"net"
	"strings"
)

// Messages to the service manager (sd_notify(3)).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"
)

// Notify tells the service manager what the process does, if there is one: socket is what NOTIFY_SOCKET holds, a path
// or, after an @, an abstract name.
func Notify(socket, message string) error {
	if socket == "" {
		return nil
	}
	if strings.HasPrefix(socket, "@") {
		socket = "\x00" + socket[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager %s: %w", message, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(message)); err != nil {
		return fmt.Errorf("tell the service manager %s: %w", message, err)
	}
	return nil
}
