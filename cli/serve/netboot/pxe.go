package netboot

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/pxe"
	"github.com/kiln-farm/kiln/edge/syslog"
	"github.com/kiln-farm/kiln/edge/tftp"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// TFTPLoad is how many transfers are under way, and how many requests were too many.
func (f *Flags) TFTPLoad() (transfers int, dropped uint64) {
	for _, s := range f.files {
		c := s.Counters()
		transfers, dropped = transfers+c.Active, dropped+c.Dropped
	}
	return transfers, dropped
}

// Address is where HTTP is served.
func (f *Flags) Address(listen string) (string, error) {
	if listen != "" {
		return listen, nil
	}
	if len(f.interfaces) == 0 {
		return net.JoinHostPort("127.0.0.1", Port), nil
	}
	ip, err := interfaceAddress(f.interfaces[0])
	if err != nil && f.only6() {
		return f.address6(f.interfaces[0])
	}
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(ip.String(), Port), nil
}

// Serve answers firmware until the end. What cannot begin is told at once.
func (f *Flags) Serve(ctx context.Context, e *edge.Edge, intents *intent.Store, log *slog.Logger, clean *daemon.Closers) error {
	if len(f.interfaces) == 0 {
		return nil
	}
	loaders, err := pxe.ReadLoaders(append(f.loaders, loaderDirs...)...)
	if err != nil {
		return ui.Usagef("--loaders: %w", err)
	}
	programs := pxe.Programs{URL: e.Machines().URL, Loaders: loaders, BIOS: f.bios}
	answers := &pxe.DHCP{Machines: e.Machines(), Programs: programs, Log: log, Full: f.dhcp == "full"}
	e.ServeLoaders(loaders)
	gives := &pxe.TFTP{Machines: e.Machines(), Files: e.Files(), Loaders: loaders}
	files := &tftp.Server{Open: gives.Open, Sent: gives.Sent, Shown: config.Redact, Log: log}
	f.files = append(f.files, files)
	for _, name := range f.interfaces {
		ip, err := interfaceAddress(name)
		if err != nil && f.only6() {
			continue
		}
		if err != nil {
			return err
		}
		conn, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp4", net.JoinHostPort(ip.String(), "69"))
		if err != nil {
			return ui.Usagef("serve TFTP on %s: %w; port 69 needs the right to it (root, or CAP_NET_BIND_SERVICE)", name, userfile.Cause(err))
		}
		clean.Run(ctx, func(ctx context.Context) { told(log, "TFTP", files.Serve(ctx, conn)) })
		if f.syslog {
			f.logs(ctx, e, answers, ip, log, clean)
		}
	}
	if err := f.serveMetadata(ctx, e, answers, log, clean); err != nil {
		return err
	}
	answers.Pool = f.pool(ctx, e, intents, log, clean)
	f.given = answers.Pool
	if f.dhcp == "off" {
		return nil
	}
	server := &dhcp.Server{Interfaces: f.interfaces, Decide: answers.Decide, Log: log}
	if answers.Pool != nil {
		server.Workers = poolWorkers
	}
	clean.Run(ctx, func(ctx context.Context) { told(log, "DHCP", server.Serve(ctx)) })
	if !f.v6.on() {
		f.advertise(ctx, nil, log, clean)
	}
	log.Info("machines boot here", "interfaces", f.interfaces, "dhcp", f.dhcp, "loaders", len(loaders))
	return nil
}

// logs takes what machines log. A host that has a syslog server of its own keeps it.
func (f *Flags) logs(ctx context.Context, e *edge.Edge, answers *pxe.DHCP, ip net.IP, log *slog.Logger, clean *daemon.Closers) {
	conn, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp4", net.JoinHostPort(ip.String(), "514"))
	if err != nil {
		log.Warn("what machines log is not taken into their timelines; end the host's own syslog server, or say --syslog=false", "error", userfile.Cause(err))
		return
	}
	if a, ok := netip.AddrFromSlice(ip); ok && !answers.Logs.IsValid() {
		answers.Logs = a.Unmap()
	}
	server := &syslog.Server{Handle: e.Machines().Logged}
	clean.Run(ctx, func(ctx context.Context) { told(log, "syslog", server.Serve(ctx, conn)) })
}
