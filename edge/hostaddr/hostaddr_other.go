//go:build !linux

package hostaddr

import (
	"context"
	"net"
	"net/netip"
)

func give(string, netip.Addr) error { return ErrUnsupported }

func take(string, netip.Addr) error { return nil }

// Elsewhere is the interface by which the host reaches an address of somebody else's; "": none.
func Elsewhere(netip.Addr, []string) string { return "" }

// Listen listens at an address of the host.
func Listen(ctx context.Context, network, at string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, network, at)
}
