package netboot

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge"
	"github.com/kiln-farm/kiln/edge/hostaddr"
	"github.com/kiln-farm/kiln/edge/pxe"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// cloudAddresses are where programs made for clouds ask, among them LinuxKit's metadata package: most at the first, and those made
// for Scaleway at the second.
var cloudAddresses = []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("169.254.42.42")}

// noMetadata is --metadata-address where there is to be none.
const noMetadata = "off"

// metadataAddresses are those at which configuration is asked for, and whether somebody named them.
func (f *Flags) metadataAddresses() (all []netip.Addr, named bool, err error) {
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
func (f *Flags) serveMetadata(ctx context.Context, e *edge.Edge, answers *pxe.DHCP, log *slog.Logger, clean *daemon.Closers) error {
	all, named, err := f.metadataAddresses()
	if err != nil {
		return err
	}
	secure, err := f.metadataTLS()
	if err != nil {
		return err
	}
	for _, a := range all {
		err := f.serveMetadataAt(ctx, e, a, secure, log, clean)
		if err != nil && named {
			return ui.Usagef("--metadata-address %s: %w", a, err)
		}
		if err != nil {
			log.Warn("machines are not configured at the address of clouds; mend it, or say --metadata-address "+noMetadata, "address", a, "error", err)
			continue
		}
		answers.Metadata = append(answers.Metadata, a)
		log.Info("machines are configured at the address of clouds", "address", a, "interfaces", f.interfaces)
	}
	return nil
}

// mostPEM bounds the files of a certificate and its key, in bytes.
const mostPEM = 1 << 20

// metadataTLS is the certificate that the metadata address shows; nil: there is none.
func (f *Flags) metadataTLS() (*tls.Config, error) {
	if f.metadataCertificate == "" && f.metadataKey == "" {
		return nil, nil
	}
	certificate, err := userfile.ReadFile(f.metadataCertificate, mostPEM)
	if err != nil {
		return nil, ui.Usagef("--metadata-certificate %q: %w", f.metadataCertificate, userfile.Cause(err))
	}
	key, err := userfile.ReadFile(f.metadataKey, mostPEM)
	if err != nil {
		return nil, ui.Usagef("--metadata-key %q: %w", f.metadataKey, userfile.Cause(err))
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, ui.Usagef("--metadata-certificate %s, --metadata-key %s: they do not belong together, or are not PEM: %w", f.metadataCertificate, f.metadataKey, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func (f *Flags) serveMetadataAt(ctx context.Context, e *edge.Edge, a netip.Addr, secure *tls.Config, log *slog.Logger, clean *daemon.Closers) error {
	listen, remedy := (&net.ListenConfig{}).Listen, fmt.Sprintf("give the address to this host with: ip address add %s/32 dev %s", a, f.interfaces[0])
	if a.IsLinkLocalUnicast() {
		if other := hostaddr.Elsewhere(a, f.interfaces); other != "" {
			return fmt.Errorf("this host itself asks a cloud there, by %s", other)
		}
		// Whoever cannot serve leaves the address to who does: it may be that of another edge on this host.
		listen, remedy = hostaddr.Listen, "end what serves on ports 80 and 443 of this host"
	}
	var all []net.Listener
	fail := func(err error) error {
		for _, l := range all {
			_ = l.Close()
		}
		return err
	}
	for _, port := range []uint16{80, 443} {
		if port == 443 && secure == nil {
			continue
		}
		l, err := listen(ctx, "tcp4", netip.AddrPortFrom(a, port).String())
		if err != nil {
			return fail(fmt.Errorf("%w; %s", userfile.Cause(err), remedy))
		}
		if port == 443 {
			l = tls.NewListener(l, secure)
		}
		all = append(all, l)
	}
	if a.IsLinkLocalUnicast() {
		holder := &hostaddr.Holder{Interfaces: f.interfaces, Addresses: []netip.Addr{a}, Log: log}
		if err := holder.Take(); err != nil {
			return fail(fmt.Errorf("%w; that needs root, or CAP_NET_ADMIN", err))
		}
		clean.Run(ctx, holder.Hold)
	}
	for _, l := range all {
		clean.Run(ctx, func(ctx context.Context) { told(log, "metadata", e.ServeMetadata(ctx, l)) })
	}
	return nil
}
