package netboot

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/dhcp6"
	"github.com/kiln-farm/kiln/edge/pxe"
	"github.com/kiln-farm/kiln/edge/tftp"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// address6 is where HTTP is served on an interface without IPv4.
func (f *Flags) address6(name string) (string, error) {
	networks, err := interfaceNetworks6(name)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(networks[0].Addr().String(), Port), nil
}

// place6 is an interface over IPv6, and where HTTP is served there; nil where the edge's own listener does that.
type place6 struct {
	pxe.Place
	listener net.Listener
}

// Places opens HTTP on the interfaces' IPv6 addresses, at the port of the edge's own.
func (f *Flags) Places(ctx context.Context, own net.Listener) (map[string]place6, error) {
	all := map[string]place6{}
	if !f.v6.on() {
		return all, nil
	}
	_, port, err := net.SplitHostPort(own.Addr().String())
	if err != nil {
		return nil, err
	}
	for _, name := range f.interfaces {
		networks, err := interfaceNetworks6(name)
		if err != nil {
			return nil, err
		}
		place := place6{Place: pxe.Place{Address: networks[0].Addr(), HTTP: "http://" + net.JoinHostPort(networks[0].Addr().String(), port)}}
		for _, n := range networks {
			place.Networks = append(place.Networks, n.Masked())
			place.Own = append(place.Own, n.Addr())
		}
		if !answersAt(own, networks[0].Addr()) {
			place.listener, err = soon(ctx, func() (net.Listener, error) {
				return (&net.ListenConfig{}).Listen(ctx, "tcp6", strings.TrimPrefix(place.HTTP, "http://"))
			})
			if err != nil {
				return nil, ui.Usagef("serve HTTP on %s of %s: %w; choose another port with --listen", place.HTTP, name, userfile.Cause(err))
			}
		}
		all[name] = place
	}
	return all, nil
}

// answersAt tells whether a listener hears an IPv6 address already.
func answersAt(l net.Listener, a netip.Addr) bool {
	at, err := netip.ParseAddrPort(l.Addr().String())
	return err == nil && (at.Addr() == a || at.Addr() == netip.IPv6Unspecified())
}

// URL6 is the edge's URL over IPv6.
func (f *Flags) URL6(places map[string]place6) string {
	if !f.v6.on() {
		return ""
	}
	return places[f.interfaces[0]].HTTP
}

// Serve6 answers firmware over IPv6 until the end.
func (f *Flags) Serve6(ctx context.Context, e *edge.Edge, url string, places map[string]place6, log *slog.Logger, clean *daemon.Closers) error {
	if !f.v6.on() {
		return nil
	}
	loaders, err := pxe.ReadLoaders(append(f.loaders, loaderDirs...)...)
	if err != nil {
		return ui.Usagef("--loaders: %w", err)
	}
	answers := &pxe.DHCP6{Machines: e.Machines(), Programs: pxe.Programs{URL: e.Machines().URL, Loaders: loaders}, Log: log, Pool: f.given, Full: f.v6.dhcp == "full", URL: url, At: map[string]pxe.Place{}}
	gives := &pxe.TFTP{Machines: e.Machines(), Files: e.Files(), Loaders: loaders}
	files := &tftp.Server{Open: gives.Open, Sent: gives.Sent, Shown: config.Redact, Log: log, MaxBlock: blockOverIPv6}
	f.files = append(f.files, files)
	offers := map[string]dhcp.Offer{}
	for _, name := range f.interfaces {
		place := places[name]
		answers.At[name] = place.Place
		offers[name] = f.offer(place.Networks)
		if place.listener != nil {
			clean.Run(ctx, func(ctx context.Context) { told(log, "HTTP over IPv6", e.Serve(ctx, place.listener)) })
		}
		conn, err := soon(ctx, func() (net.PacketConn, error) {
			return (&net.ListenConfig{}).ListenPacket(ctx, "udp6", net.JoinHostPort(place.Address.String(), "69"))
		})
		if err != nil {
			return ui.Usagef("serve TFTP on %s of %s: %w; port 69 needs the right to it (root, or CAP_NET_BIND_SERVICE)", place.Address, name, userfile.Cause(err))
		}
		clean.Run(ctx, func(ctx context.Context) { told(log, "TFTP over IPv6", files.Serve(ctx, conn)) })
	}
	server := &dhcp6.Server{Interfaces: f.interfaces, DUID: dhcp6.ServerDUID(url), Decide: answers.Decide, Log: log}
	if f.given != nil {
		server.Workers = poolWorkers
	}
	clean.Run(ctx, func(ctx context.Context) { told(log, "DHCPv6", server.Serve(ctx)) })
	f.advertise(ctx, offers, log, clean)
	log.Info("machines boot here over IPv6", "interfaces", f.interfaces, "dhcp6", f.v6.dhcp, "url", url, "loaders", len(loaders))
	return nil
}

// advertise answers router solicitations.
func (f *Flags) advertise(ctx context.Context, offers map[string]dhcp.Offer, log *slog.Logger, clean *daemon.Closers) {
	advertiser := &dhcp.Advertiser{Interfaces: f.interfaces, Offers: offers, Log: log}
	clean.Run(ctx, func(ctx context.Context) { told(log, "router advertisements", advertiser.Serve(ctx)) })
}

const (
	blockOverIPv6 = 1448           // bytes of a TFTP block that fit an Ethernet frame
	prefixTime    = 24 * time.Hour // that a prefix holds when no edge says so any more
)

// offer is what machines are told of their link where no router says it.
func (f *Flags) offer(networks []netip.Prefix) dhcp.Offer {
	o := dhcp.Offer{Managed: f.v6.dhcp == "full", Other: true}
	autonomous := f.v6.autoconf == "yes" || f.v6.autoconf == "auto" && f.v6.dhcp == "stateless"
	for _, n := range networks {
		if n.Bits() < 128 {
			o.Prefixes = append(o.Prefixes, dhcp.Prefix{Prefix: n, OnLink: true, Autonomous: autonomous && n.Bits() == 64, Valid: prefixTime, Preferred: prefixTime / 2})
		}
	}
	return o
}

// soon tries again for as long as the kernel makes sure that nobody else has an address (RFC 4862 §5.4).
func soon[T any](ctx context.Context, try func() (T, error)) (T, error) {
	for end := time.Now().Add(5 * time.Second); ; {
		got, err := try()
		if !errors.Is(err, syscall.EADDRNOTAVAIL) || time.Now().After(end) || ctx.Err() != nil {
			return got, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
