package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge"
	"github.com/kiln-farm/kiln/edge/hostaddr"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// cloudAddresses are where programs made for clouds ask, among them LinuxKit's metadata package: most at the first, and those made
// for Scaleway at the second.
var cloudAddresses = []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("169.254.42.42")}

// noMetadata is --metadata-address where there is to be none.
const noMetadata = "off"

// metadataAddresses are those at which configuration is asked for, and whether somebody named them.
func (f *pxeFlags) metadataAddresses() (all []netip.Addr, named bool, err error) {
	switch f.metadata {
	case noMetadata:
		return nil, true, nil
	case "":
		if f.dhcp == "full" {
			all = cloudAddresses
		}
		return all, false, nil
	}
	a, err := netip.ParseAddr(f.metadata)
	if err != nil || !a.Is4() {
		return nil, true, ui.Usagef("--metadata-address %q: it is an IPv4 address, such as 169.254.169.254, or %s", f.metadata, noMetadata)
	}
	return []netip.Addr{a}, true, nil
}

// serveMetadata answers where programs made for clouds ask for their configuration. An edge whose operator asked for no address does
// without where that cannot be, and says so.
func (f *pxeFlags) serveMetadata(ctx context.Context, e *edge.Edge, pxe *edge.PXE, log *slog.Logger, clean *closers) error {
	all, named, err := f.metadataAddresses()
	if err != nil {
		return err
	}
	for _, a := range all {
		err := f.serveMetadataAt(ctx, e, a, log, clean)
		if err != nil && named {
			return ui.Usagef("--metadata-address %s: %w", a, err)
		}
		if err != nil {
			log.Warn("machines are not configured at the address of clouds; mend it, or say --metadata-address "+noMetadata, "address", a, "error", err)
			continue
		}
		pxe.Metadata = append(pxe.Metadata, a)
		log.Info("machines are configured at the address of clouds", "address", a, "interfaces", f.interfaces)
	}
	return nil
}

func (f *pxeFlags) serveMetadataAt(ctx context.Context, e *edge.Edge, a netip.Addr, log *slog.Logger, clean *closers) error {
	if !a.IsLinkLocalUnicast() {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", netip.AddrPortFrom(a, 80).String())
		if err != nil {
			return fmt.Errorf("%w; give the address to this host with: ip address add %s/32 dev %s", userfile.Cause(err), a, f.interfaces[0])
		}
		clean.run(ctx, func(ctx context.Context) { told(log, "metadata", e.ServeMetadata(ctx, listener)) })
		return nil
	}
	if other := hostaddr.Elsewhere(a, f.interfaces); other != "" {
		return fmt.Errorf("this host itself asks a cloud there, by %s", other)
	}
	// Whoever cannot serve leaves the address to who does: it may be that of another edge on this host.
	listener, err := hostaddr.Listen(ctx, netip.AddrPortFrom(a, 80))
	if err != nil {
		return fmt.Errorf("%w; end what serves on port 80 of this host", userfile.Cause(err))
	}
	holder := &hostaddr.Holder{Interfaces: f.interfaces, Addresses: []netip.Addr{a}, Log: log}
	if err := holder.Take(); err != nil {
		return errors.Join(fmt.Errorf("%w; that needs root, or CAP_NET_ADMIN", err), listener.Close())
	}
	clean.run(ctx, holder.Hold)
	clean.run(ctx, func(ctx context.Context) { told(log, "metadata", e.ServeMetadata(ctx, listener)) })
	return nil
}
