package netboot

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/farmlink"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/pool"
	"github.com/kiln-farm/kiln/edge/pool/probe"
	"github.com/kiln-farm/kiln/edge/pxe"
	"github.com/kiln-farm/kiln/edge/syslog"
	"github.com/kiln-farm/kiln/edge/tftp"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// Flags say how firmware finds the edge.
type Flags struct {
	interfaces                       []string
	dhcp                             string
	loaders                          []string
	syslog                           bool
	metadata                         string // address, "off", or empty
	MetadataV1                       bool
	metadataCertificate, metadataKey string // PEM files; empty: no TLS there
	bios                             string
	v6                               pxe6Flags
	probe                            time.Duration

	Pools *farmlink.Pool // nil: there is no farm
	given *pool.Pool     // what serve and serve6 give addresses out of; nil: nothing
	files []*tftp.Server // once they serve
}

// TFTPLoad is how many transfers are under way, and how many requests were too many.
func (f *Flags) TFTPLoad() (transfers int, dropped uint64) {
	for _, s := range f.files {
		c := s.Counters()
		transfers, dropped = transfers+c.Active, dropped+c.Dropped
	}
	return transfers, dropped
}

// poolWorkers is how many packets are decided at once with pools: some wait for the farm, or for whether an address is in use.
const poolWorkers = 1024

func (f *Flags) Add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.interfaces, "interface", nil, "interface whose machines boot from this edge, by DHCP and TFTP; repeatable")
	flags.StringVar(&f.dhcp, "dhcp", "proxy", "with --interface: proxy says what to boot beside the site's own server, full also gives addresses (fixed ones, and with a farm those of subnets), off leaves both to the site's server")
	flags.BoolVar(&f.syslog, "syslog", true, "with --interface: take what machines log over UDP on port 514 into their timelines, and tell them so by DHCP")
	flags.DurationVar(&f.probe, "probe", probe.Default, "with --dhcp full: how long to wait for somebody who uses an address already, before it is offered first; 0: not at all")
	flags.StringSliceVar(&f.loaders, "loaders", nil, "directory with iPXE's undionly.kpxe, snponly.efi and snponly-arm64.efi, or with pxelinux.0, lpxelinux.0 and ldlinux.c32; repeatable (default: where distributions have them)")
	flags.StringVar(&f.bios, "bios-loader", "", "what a BIOS boots: ipxe, pxelinux, or lpxelinux, which uses HTTP (default: the first of them that is there)")
	flags.StringVar(&f.metadata, "metadata-address", "", "with --interface: also answer at port 80 of this address, as clouds do, or off: not; one of the link alone is given to the interfaces while this edge serves (default with --dhcp full: 169.254.169.254, and 169.254.42.42 for Scaleway's programs)")
	flags.StringVar(&f.metadataCertificate, "metadata-certificate", "", "PEM file with the certificate, and its chain, for HTTPS at port 443 of the metadata address: Equinix Metal's programs ask https://metadata.packet.net")
	flags.StringVar(&f.metadataKey, "metadata-key", "", "PEM file with the key of --metadata-certificate")
	flags.BoolVar(&f.MetadataV1, "metadata-v1", true, "give EC2's documents without a session token, too, as EC2 calls IMDSv1")
	f.v6.add(flags)
}

func (f *Flags) Check() error {
	if err := f.v6.check(f.interfaces); err != nil {
		return err
	}
	if f.bios != "" && !slices.Contains(pxe.BIOSLoaders(), f.bios) {
		return ui.Usagef("--bios-loader %q: it is ipxe, pxelinux or lpxelinux", f.bios)
	}
	switch f.dhcp {
	case "proxy", "full", "off":
		return nil
	}
	return ui.Usagef("--dhcp %q: it is proxy, full or off", f.dhcp)
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

// loaderDirs are where distributions have iPXE and PXELINUX.
var loaderDirs = []string{"/usr/lib/ipxe", "/usr/share/ipxe", "/usr/lib/ipxe/qemu", "/usr/lib/PXELINUX", "/usr/lib/syslinux/modules/bios", "/usr/share/syslinux"}

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

// told logs why a server ended.
func told(log *slog.Logger, what string, err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, context.Canceled) {
		log.Error("a server of the edge ended", "server", what, "error", err)
	}
}

// Port is where edges listen.
const Port = "7380"
