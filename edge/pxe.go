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
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/pool"
	"github.com/kiln-farm/kiln/edge/tftp"
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
	// Pool gives addresses to machines that have no fixed one; nil: the site's own server does.
	Pool *pool.Pool
	// Loaders are boot programs by their names ("undionly.kpxe"), as paths of this host.
	Loaders map[string]string
}

const (
	leaseTime  = time.Hour // of a fixed address
	ukiPrefix  = "uki/"
	undi       = "undionly.kpxe"
	snp        = "snponly.efi"
	snpARM64   = "snponly-arm64.efi"
	maxLoaders = 100
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
			if ext := filepath.Ext(e.Name()); ext != ".efi" && ext != ".kpxe" && ext != ".pxe" || len(all) >= maxLoaders {
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
	boot, err := p.Edge.cfg.Intents.Index().Resolve(intent.Identity{MAC: mac, UUID: c.SystemUUID()})
	if boot == nil { // nobody described it, and there is nothing for such machines
		if plan, ok := p.pooled(ctx, c, nil); ok {
			return plan
		}
		p.tell(c, nil, kilnv1.BootStage_BOOT_STAGE_FAILED, fmt.Sprint(err))
		return dhcp.Plan{}
	}
	rank := dhcp.Rank(c.MAC, p.Edge.urls(), p.Edge.cfg.URL)
	wait, answer := dhcp.Wait(rank, c.Waited())
	if !answer && !c.ServerID.IsValid() && c.Message == dhcpv4.MessageTypeDiscover {
		return dhcp.Plan{}
	}
	plan := dhcp.Plan{Mode: dhcp.Proxy, Delay: wait}
	if lease, ok := p.lease(boot); ok && p.free(c, boot, lease) {
		plan.Mode, plan.Lease, plan.Authoritative = dhcp.Full, lease, true
		p.fill(&plan)
		if c.Message == dhcpv4.MessageTypeRequest || c.Message == dhcpv4.MessageTypeInform {
			p.Edge.bindings.see(mac, lease.Address, p.Edge.now().Add(bootWindow))
		}
	} else if pooled, ok := p.pooled(ctx, c, boot); ok {
		plan = pooled
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
func (p *PXE) lease(boot *intent.Boot) (dhcp.Lease, bool) {
	address, err := intent.Address(boot.Machine.GetAddress())
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
	for _, text := range boot.Machine.GetDns() {
		if a, err := netip.ParseAddr(text); err == nil {
			lease.DNS = append(lease.DNS, a)
		}
	}
	return lease, true
}

// bootFile is what a client boots next: a name for TFTP, or a URL.
func (p *PXE) bootFile(c dhcp.Client, boot *intent.Boot) (string, error) {
	goarch := c.Arch.GOARCH
	if goarch == "" || goarch == "386" {
		goarch = "amd64"
	}
	files, err := boot.Files(goarch)
	if err != nil {
		return "", err
	}
	base, mac := p.Edge.cfg.URL, c.MAC.String()
	uki := ukiPrefix + mac + ".efi"
	switch c.Kind {
	case dhcp.IPXE:
		if !c.IPXE.HTTP {
			return p.loader(loaderFor(c, goarch), files, uki)
		}
		arch := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[goarch]
		return base + "/boot.ipxe?mac=" + mac + "&uuid=" + c.SystemUUID() + "&arch=" + arch, nil
	case dhcp.UEFIHTTP:
		if files.GetUki() != nil {
			return base + "/" + uki + "?arch=" + goarch, nil
		}
		name, err := p.loader(loaderFor(c, goarch), files, uki)
		return base + "/loaders/" + url.PathEscape(name), err
	case dhcp.BIOS, dhcp.UEFI:
		if files.GetKernel() == nil && files.GetUki() != nil && c.Kind == dhcp.UEFI {
			return uki, nil
		}
		return p.loader(loaderFor(c, goarch), files, uki)
	case dhcp.Pi:
		return "", nil // it asks for files of its own
	}
	return "", nil
}

// loaderFor is iPXE for a client.
func loaderFor(c dhcp.Client, goarch string) string {
	switch {
	case c.Arch.UEFI && goarch == "arm64":
		return snpARM64
	case c.Arch.UEFI:
		return snp
	}
	return undi
}

// loader is the boot program of that name; where there is none, UEFI boots the unified kernel image itself.
func (p *PXE) loader(name string, files *kilnv1.ReleaseFiles, uki string) (string, error) {
	if _, ok := p.Loaders[name]; ok {
		return name, nil
	}
	if name != undi && files.GetUki() != nil {
		return uki, nil
	}
	return "", fmt.Errorf("there is no %s to boot it with: name a directory that has it with --loaders (on Debian: apt-get install ipxe), or build the format uki", name)
}

// tell reports what a client is told.
func (p *PXE) tell(c dhcp.Client, boot *intent.Boot, stage kilnv1.BootStage, detail string) {
	event := &kilnv1.BootEvent{Mac: c.MAC.String(), Uuid: c.SystemUUID(), Stage: stage, Detail: detail}
	if boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	if c.Message == dhcpv4.MessageTypeDiscover || stage != kilnv1.BootStage_BOOT_STAGE_FAILED {
		p.Edge.cfg.Events.Add(event)
	}
}

// Open gives a file by TFTP: a boot program, or a machine's unified kernel image. Names are looked up among those that there
// are, and are never paths of this host.
func (p *PXE) Open(ctx context.Context, _ netip.AddrPort, name string) (tftp.File, error) {
	name = strings.TrimLeft(name, "/")
	if path, ok := p.Loaders[name]; ok {
		return openFile(path)
	}
	mac, ok := strings.CutPrefix(strings.TrimSuffix(name, ".efi"), ukiPrefix)
	if !ok {
		return nil, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		_, files, err := p.Edge.ukiOf(intent.Identity{MAC: mac}, arch)
		if err != nil {
			continue
		}
		a, err := p.Edge.file(ctx, files.GetUki())
		if err != nil {
			return nil, err
		}
		return cache.OpenArtifact(ctx, p.Edge.cfg.Blobs, a)
	}
	return nil, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
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
	event := &kilnv1.BootEvent{Stage: kilnv1.BootStage_BOOT_STAGE_TFTP, Address: t.Client.Addr().String(), Bytes: t.Bytes, DurationMs: t.Duration.Milliseconds(),
		Detail: fmt.Sprintf("%s, %d bytes in %d ms", t.Name, t.Bytes, t.Duration.Milliseconds())}
	if t.Err != nil {
		event.Detail = fmt.Sprintf("%s: %v", t.Name, t.Err)
	}
	if b, ok := p.Edge.bound(t.Client.Addr()); ok {
		event.Mac = b.MAC
	} else if mac, ok := strings.CutPrefix(strings.TrimSuffix(strings.TrimLeft(t.Name, "/"), ".efi"), ukiPrefix); ok {
		event.Mac = mac
	}
	if boot, _ := p.Edge.cfg.Intents.Index().Resolve(intent.Identity{MAC: event.Mac}); boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	if event.Mac != "" {
		p.Edge.cfg.Events.Add(event)
	}
}

// file is a file of this host.
type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

func openFile(path string) (tftp.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{f, info.Size()}, nil
}
