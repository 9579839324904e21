package cli

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"github.com/kiln-farm/kiln/edge"
)

// serveMetadata answers at the address at which programs made for clouds ask for their configuration, among them LinuxKit's
// metadata package.
func (f *pxeFlags) serveMetadata(ctx context.Context, e *edge.Edge, pxe *edge.PXE, log *slog.Logger, clean *closers) error {
	if f.metadata == "" {
		return nil
	}
	address, err := netip.ParseAddr(f.metadata)
	if err != nil || !address.Is4() {
		return usagef("--metadata-address %q: it is an IPv4 address, such as 169.254.169.254", f.metadata)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", netip.AddrPortFrom(address, 80).String())
	if err != nil {
		return usagef("--metadata-address %s: %w; give the address to this host with: ip address add %s/32 dev %s", address, cause(err), address, f.interfaces[0])
	}
	for _, name := range f.interfaces {
		networks, err := interfaceNetworks(name)
		if err != nil {
			return err
		}
		pxe.Own = append(pxe.Own, networks...)
	}
	pxe.Metadata = address
	clean.run(ctx, func(ctx context.Context) { told(log, "metadata", e.Serve(ctx, listener)) })
	return nil
}
