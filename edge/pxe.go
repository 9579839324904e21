package edge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/loaderconf"
	"github.com/kiln-farm/kiln/edge/pool"
	"github.com/kiln-farm/kiln/edge/tftp"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/internal/userfile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// PXE is how firmware finds what to boot: what it is told by DHCP, and the files that it fetches by TFTP.
type PXE struct {
	Edge *Edge
	// Full gives addresses to machines that have one; otherwise a site's own server does that, and this one only says what
	// to boot (proxy DHCP).
	Full bool
	// Logs is where machines are told to log; the zero value: they are not told.
	Logs netip.Addr
	// Metadata are addresses of this host at which machines ask for their configuration as in a cloud; machines are told the
	// way there.
	Metadata []netip.Addr
	// Pool gives addresses to machines that have no fixed one; nil: the site's own server does.
	Pool *pool.Pool
	// Loaders are boot programs by their names ("undionly.kpxe"), as paths of this host.
	Loaders map[string]string
	// BIOS is the boot program of PC BIOSes, one of BIOSLoaders; empty: the first of them that is there.
	BIOS string
}

// BIOSLoaders are the boot programs for PC BIOSes that there may be.
func BIOSLoaders() []string { return []string{"ipxe", "pxelinux", "lpxelinux"} }

const (
	leaseTime  = time.Hour // of a fixed address
	ukiPrefix  = "uki/"
	undi       = "undionly.kpxe"
	snp        = "snponly.efi"
	snpARM64   = "snponly-arm64.efi"
	maxLoaders = 1000
)

// ReadLoaders lists the boot programs in directories; of two of one name the first counts.
func ReadLoaders(dirs ...string) (map[string]string, error) {
	all := map[string]string{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !slices.Contains([]string{".efi", ".kpxe", ".pxe", ".0", ".c32", ".elf", ".dat", ".dtb", ".dtbo", ".bin"}, filepath.Ext(e.Name())) || len(all) >= maxLoaders {
				continue
			}
			if _, ok := all[e.Name()]; !ok {
				all[e.Name()] = filepath.Join(dir, e.Name())
			}
		}
	}
	return all, nil
}

// Decide says what a client of DHCP is told.
func (p *PXE) Decide(ctx context.Context, c dhcp.Client) dhcp.Plan {
	mac := c.MAC.String()
	boot, err := p.Edge.cfg.Intents.Index().Resolve(fleet.Identity{MAC: mac, UUID: c.SystemUUID()})
	wait, answer := p.turn(c)
	if boot == nil { // nobody described it, and there is nothing for such machines
		plan, ok := p.pooled(ctx, c, nil, wait, answer)
		if plan.Delay == 0 && (!ok || c.Kind != dhcp.Plain) {
			p.tell(c, nil, kilnv1.BootStage_BOOT_STAGE_FAILED, fmt.Sprint(err))
		}
		return plan
	}
	if c.Kind != dhcp.Plain { // also where another edge answers: the machine may ask this one later
		p.Edge.seen.Boots(mac, p.Edge.now().Add(intent.BootTime))
	}
	if !answer && !c.ServerID.IsValid() && c.Message == dhcpv4.MessageTypeDiscover {
		return dhcp.Plan{}
	}
	if wait > 0 {
		return dhcp.Plan{Delay: wait}
	}
	plan := dhcp.Plan{Mode: dhcp.Proxy}
	if lease, ok := p.lease(c, boot); ok && p.free(c, boot, lease) {
		plan.Mode, plan.Lease, plan.Authoritative = dhcp.Full, lease, true
		p.fill(c, &plan)
		if c.Message == dhcpv4.MessageTypeRequest || c.Message == dhcpv4.MessageTypeInform {
			p.Edge.seen.Gave(mac, lease.Address, p.Edge.now().Add(intent.BootTime))
		}
	} else if pooled, ok := p.pooled(ctx, c, boot, wait, answer); ok {
		plan = pooled
		if plan.Delay > 0 {
			return plan
		}
		if plan.Mode == dhcp.Silent && plan.Refuse == "" {
			return plan
		}
	}
	if plan.Refuse != "" {
		return plan
	}
	if c.Kind != dhcp.Plain && !boot.LocalDisk {
		if err != nil {
			p.tell(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error())
		} else if plan.Boot.File, err = p.bootFile(c, boot); err != nil {
			p.tell(c, boot, kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error())
		}
	}
	if plan.Mode == dhcp.Proxy && plan.Boot.File == "" {
		return dhcp.Plan{}
	}
	if plan.Boot.File != "" && c.Message == dhcpv4.MessageTypeDiscover {
		p.tell(c, boot, kilnv1.BootStage_BOOT_STAGE_DHCP, fmt.Sprintf("%s (%s) is told %s", c.Kind, c.Arch.Name, plan.Boot.File))
	}
	return plan
}

// lease is the fixed address of a machine.
func (p *PXE) lease(c dhcp.Client, boot *fleet.Boot) (dhcp.Lease, bool) {
	address, err := fleet.Address(boot.Machine.GetAddress())
	if err != nil || !p.Full {
		return dhcp.Lease{}, false
	}
	lease := dhcp.Lease{Address: address, Host: boot.Hostname(), Time: leaseTime}
	if p.Logs.IsValid() {
		lease.Log = []netip.Addr{p.Logs}
	}
	if router, err := netip.ParseAddr(boot.Machine.GetGateway()); err == nil {
		lease.Router = router
	}
	lease.Routes = p.wayToMetadata(c, address)
	for _, text := range boot.Machine.GetDns() {
		if a, err := netip.ParseAddr(text); err == nil {
			lease.DNS = append(lease.DNS, a)
		}
	}
	return lease, true
}

// wayToMetadata are routes to the metadata addresses, for a machine on a network of this host. Others have their routers.
func (p *PXE) wayToMetadata(c dhcp.Client, machine netip.Prefix) []dhcp.Route {
	for _, own := range c.Own {
		if c.Gateway.IsValid() || !own.Contains(machine.Addr()) {
			continue
		}
		var routes []dhcp.Route
		for _, a := range p.Metadata {
			routes = append(routes, dhcp.Route{To: netip.PrefixFrom(a, a.BitLen()), Via: own.Addr()})
		}
		return routes
	}
	return nil
}

// bootFile is what a client boots next: a name for TFTP, or a URL.
func (p *PXE) bootFile(c dhcp.Client, boot *fleet.Boot) (string, error) {
	goarch := c.Arch.GOARCH
	if goarch == "" || goarch == "386" {
		goarch = "amd64"
	}
	files, err := boot.Files(goarch)
	if err != nil {
		return "", err
	}
	base, mac := p.Edge.cfg.URL, c.MAC.String()
	uki := ukiPrefix + goarch + "/" + mac + ".efi"
	ukiURL := base + "/" + ukiPrefix + mac + ".efi?arch=" + goarch
	if boot.UKI {
		switch {
		case files.GetUki() == nil:
			return "", fmt.Errorf("release %s has no unified kernel image for %s; build the format uki, too", boot.Release.GetName(), goarch)
		case c.Arch.BIOS:
			return "", errOnlyUKI(boot)
		case c.Kind == dhcp.UEFIHTTP || c.Kind == dhcp.IPXE && c.IPXE.HTTP:
			return ukiURL, nil
		case c.Kind == dhcp.UEFI || c.Kind == dhcp.IPXE:
			return uki, nil
		}
		return "", nil
	}
	switch c.Kind {
	case dhcp.IPXE:
		// Whoever says what a BIOS boots means those with an iPXE in the network card, too.
		if !c.IPXE.HTTP || c.Arch.BIOS && p.BIOS != "" && p.BIOS != "ipxe" {
			return p.loader(p.loaderFor(c, goarch), files, uki)
		}
		arch := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[goarch]
		return base + "/boot.ipxe?mac=" + mac + "&uuid=" + c.SystemUUID() + "&arch=" + arch, nil
	case dhcp.UEFIHTTP:
		if files.GetUki() != nil {
			return ukiURL, nil
		}
		name, err := p.loader(p.loaderFor(c, goarch), files, uki)
		return base + "/loaders/" + url.PathEscape(name), err
	case dhcp.BIOS, dhcp.UEFI:
		if files.GetKernel() == nil && files.GetUki() != nil && c.Kind == dhcp.UEFI {
			return uki, nil
		}
		return p.loader(p.loaderFor(c, goarch), files, uki)
	case dhcp.Pi:
		return "", nil // it asks for files of its own
	}
	return "", nil
}

// loaderFor is the boot program for a client.
func (p *PXE) loaderFor(c dhcp.Client, goarch string) string {
	switch {
	case c.Arch.UEFI && goarch == "arm64":
		return snpARM64
	case c.Arch.UEFI:
		return snp
	}
	for i, name := range []string{undi, pxelinux, lpxelinux} {
		if p.BIOS == BIOSLoaders()[i] || p.BIOS == "" && p.Loaders[name] != "" {
			return name
		}
	}
	return undi
}

// loader is the boot program of that name; where there is none, UEFI boots the unified kernel image itself.
func (p *PXE) loader(name string, files *kilnv1.ReleaseFiles, uki string) (string, error) {
	bios := name == undi || name == pxelinux || name == lpxelinux
	missing, where := name, "ipxe"
	if name == pxelinux || name == lpxelinux {
		where = "pxelinux syslinux-common"
		if p.Loaders[name] != "" {
			missing = ldlinux
		}
	}
	switch {
	case p.Loaders[missing] == "" && !bios && files.GetUki() != nil:
		return uki, nil
	case p.Loaders[missing] == "":
		return "", fmt.Errorf("there is no %s to boot it with: name a directory that has it with --loaders (on Debian: apt-get install %s), or build the format uki for UEFI", missing, where)
	case name == lpxelinux:
		return overHTTP + name, nil
	}
	return name, nil
}

// tell reports what a client is told.
func (p *PXE) tell(c dhcp.Client, boot *fleet.Boot, stage kilnv1.BootStage, detail string) {
	event := &kilnv1.BootEvent{Mac: c.MAC.String(), Uuid: c.SystemUUID(), Stage: stage, Detail: detail}
	if boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	if c.Message == dhcpv4.MessageTypeDiscover || stage != kilnv1.BootStage_BOOT_STAGE_FAILED {
		p.Edge.tell(event)
	}
}

// Open gives a file by TFTP: a boot program, or a machine's unified kernel image. Names are looked up among those that there
// are, and are never paths of this host.
func (p *PXE) Open(ctx context.Context, client netip.AddrPort, name string) (tftp.File, error) {
	name = strings.TrimLeft(name, "/")
	if path, ok := p.Loaders[strings.TrimPrefix(name, overHTTP)]; ok {
		return openFile(path)
	}
	if a := loaderconf.Parse(name); a.Kind != loaderconf.None {
		return p.openByName(ctx, client, a)
	}
	arch, mac, ok := ukiName(name)
	if !ok {
		return p.openPXELINUX(ctx, client, name)
	}
	_, files, err := p.Edge.ukiOf(fleet.Identity{MAC: mac}, arch)
	if err != nil {
		return nil, fmt.Errorf("%q: %w: %w", name, fs.ErrNotExist, err)
	}
	image, err := p.Edge.files.OpenRelease(ctx, files.GetUki())
	if err != nil {
		return nil, err
	}
	p.Edge.seen.Fetched(mac, client.Addr().Unmap(), p.Edge.now().Add(intent.BootTime))
	return image, nil
}

// ukiName reads the name of a unified kernel image. Its architecture is that of the firmware: a release may be for several.
func ukiName(name string) (arch, mac string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimLeft(name, "/"), ukiPrefix)
	if !ok {
		return "", "", false
	}
	arch, mac, ok = strings.Cut(rest, "/")
	return arch, strings.TrimSuffix(mac, ".efi"), ok
}

// Sent reports a transfer.
func (p *PXE) Sent(t tftp.Transfer) {
	if t.Probe {
		return
	}
	ended := "well"
	if t.Err != nil {
		ended = "early"
	}
	tftpTime.Record(context.Background(), t.Duration.Seconds(), metric.WithAttributes(attribute.String("ended", ended)))
	tftpBytes.Add(context.Background(), t.Bytes)
	event := &kilnv1.BootEvent{Stage: kilnv1.BootStage_BOOT_STAGE_TFTP}
	name := config.Redact(t.Name)
	if a, ok := parseAsked(t.Name); ok {
		if a.config != "" {
			return // told when it was made, and names that there are not are asked for in any boot
		}
		held, _ := p.Edge.cfg.Intents.File(a.digest, p.Edge.now())
		if boot, token, err := p.Edge.whose(a.token); err == nil && t.Err == nil {
			event, name = fileEvent(boot, token, held), "by TFTP"
		}
	}
	switch loaderconf.Parse(t.Name).Kind {
	case loaderconf.Autoexec, loaderconf.GRUB, loaderconf.PiConfig, loaderconf.PiCmdline:
		return // told when it was made
	case loaderconf.PiKernel:
		event.Stage = kilnv1.BootStage_BOOT_STAGE_KERNEL
	case loaderconf.PiInitrd:
		event.Stage = kilnv1.BootStage_BOOT_STAGE_INITRD
	}
	event.Address, event.Bytes, event.DurationMs = t.Client.Addr().String(), t.Bytes, t.Duration.Milliseconds()
	event.Detail = fmt.Sprintf("%s, %d bytes in %d ms", name, t.Bytes, event.DurationMs)
	if t.Err != nil {
		event.Detail = fmt.Sprintf("%s: %v", name, t.Err)
	}
	if event.Mac != "" {
		p.Edge.tell(event)
		return
	}
	if b, ok := p.Edge.seen.Bound(t.Client.Addr()); ok {
		event.Mac = b.MAC
	} else if _, mac, ok := ukiName(t.Name); ok {
		event.Mac = mac
	}
	if boot, _ := p.Edge.cfg.Intents.Index().Resolve(fleet.Identity{MAC: event.Mac}); boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	if event.Mac != "" {
		p.Edge.tell(event)
	}
}

// file is a file of this host.
type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

func openFile(path string) (tftp.File, error) {
	f, err := userfile.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{f, info.Size()}, nil
}
