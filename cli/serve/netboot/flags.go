package netboot

import (
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge/farmlink"
	"github.com/kiln-farm/kiln/edge/pool"
	"github.com/kiln-farm/kiln/edge/pool/probe"
	"github.com/kiln-farm/kiln/edge/pxe"
	"github.com/kiln-farm/kiln/edge/tftp"
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

// Port is where edges listen.
const Port = "7380"

// pxe6Flags say how firmware finds the edge over IPv6.
type pxe6Flags struct {
	dhcp     string
	autoconf string
}

func (f *pxe6Flags) add(flags *pflag.FlagSet) {
	// Off unless asked for: unlike a proxy over IPv4, this takes part in how a network's machines get their addresses.
	flags.StringVar(&f.dhcp, "dhcp6", "off", "with --interface: full gives machines their address6 by DHCPv6, or with a farm one out of a pool, and says what to boot, stateless says only that to machines with addresses of their own, off does nothing over IPv6")
	flags.StringVar(&f.autoconf, "autoconf", "auto", "with --dhcp6: whether machines may make addresses of their own from the interface's prefix, where no router says so: yes, no, or auto, which is yes with stateless")
}

func (f *pxe6Flags) on() bool { return f.dhcp != "off" }

func (f *pxe6Flags) check(interfaces []string) error {
	switch f.dhcp {
	case "off", "stateless", "full":
	default:
		return ui.Usagef("--dhcp6 %q: it is off, stateless or full", f.dhcp)
	}
	switch f.autoconf {
	case "auto", "yes", "no":
	default:
		return ui.Usagef("--autoconf %q: it is auto, yes or no", f.autoconf)
	}
	if f.on() && len(interfaces) == 0 {
		return ui.Usagef("--dhcp6 %s: say with --interface which machines it is for", f.dhcp)
	}
	return nil
}

// only6 tells whether the interfaces need no IPv4 address.
func (f *Flags) only6() bool { return f.dhcp == "off" && f.v6.on() }

// poolWorkers is how many packets are decided at once with pools: some wait for the farm, or for whether an address is in use.
const poolWorkers = 1024

// loaderDirs are where distributions have iPXE and PXELINUX.
var loaderDirs = []string{"/usr/lib/ipxe", "/usr/share/ipxe", "/usr/lib/ipxe/qemu", "/usr/lib/PXELINUX", "/usr/lib/syslinux/modules/bios", "/usr/share/syslinux"}
