//go:build !linux

package dhcp6

import (
	"errors"
	"fmt"
)

// openLink is a matter of Linux's sockets.
func openLink(name string) (link, error) {
	return nil, fmt.Errorf("answer DHCPv6 on the interface %q: %w", name, errors.New("an edge that answers DHCP runs on Linux"))
}
