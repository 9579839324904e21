package machines

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/kiln-farm/kiln/edge/loaderconf"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// ErrNobodys: the name is one that loaders ask for, and there is nothing for whoever asked.
var ErrNobodys = fmt.Errorf("there is nothing by that name for this machine: %w", fs.ErrNotExist)

// ByName is the text that a boot loader asks for by itself. Edges are those that the client reaches.
func (m *Machines) ByName(client netip.Addr, a loaderconf.Asked, edges []string) (string, error) {
	if a.ID == (fleet.Identity{}) {
		if b, ok := m.Seen.Bound(client.Unmap()); ok {
			a.ID.MAC = b.MAC
		} else if a.Kind == loaderconf.Autoexec {
			return loaderconf.AutoexecChain(edges, ""), nil
		} else {
			return "", ErrNobodys
		}
	}
	boot, err := m.Intents.Index().Resolve(a.ID)
	if boot == nil && a.ID.MAC == "" {
		return "", ErrNobodys // it asks by its MAC next
	}
	event := &kilnv1.BootEvent{Mac: a.ID.MAC, Uuid: a.ID.UUID, Stage: kilnv1.BootStage_BOOT_STAGE_SCRIPT, Address: client.String()}
	if boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	text := ""
	if err == nil {
		text, err = m.textByName(client, a, boot, edges, event)
	}
	if err != nil {
		event.Stage, event.Detail = kilnv1.BootStage_BOOT_STAGE_FAILED, err.Error()
		switch a.Kind {
		case loaderconf.Autoexec:
			text = loaderconf.AutoexecScript(WaitScript(err.Error()))
		case loaderconf.GRUB:
			text = loaderconf.GRUBWait(err.Error())
		default:
			m.Tell(event)
			return "", errors.Join(ErrNobodys, err)
		}
	}
	if a.Kind != loaderconf.PiConfig { // its command line is told
		m.Tell(event)
	}
	return text, nil
}

// textByName is the text of a machine that has something to boot.
func (m *Machines) textByName(client netip.Addr, a loaderconf.Asked, boot *fleet.Boot, edges []string, event *kilnv1.BootEvent) (string, error) {
	title := boot.Name() + " boots " + boot.Release.GetName()
	switch a.Kind {
	case loaderconf.Autoexec:
		return m.autoexec(client, boot, edges, event)
	case loaderconf.GRUB:
		if boot.LocalDisk {
			event.Detail = "boots from its own disk"
			return loaderconf.GRUBDisk, nil
		}
		platforms, err := m.Platforms(client, boot, event, "GRUB", []string{"amd64", "arm64"})
		return loaderconf.GRUBConfig(title, platforms, edges), err
	case loaderconf.PiConfig:
		f, err := boot.Files("arm64")
		return loaderconf.PiConfigText(len(f.GetInitrds())), err
	}
	platforms, err := m.Platforms(client, boot, event, "a Raspberry Pi's firmware", []string{"arm64"})
	event.Boot = "" // its files have no token in their names, so that nothing more is heard of this boot by that
	return platforms["arm64"].Cmdline + "\n", err
}

// autoexec is the script of a machine whose iPXE has not asked DHCP yet. Which of two architectures it is knows iPXE alone.
func (m *Machines) autoexec(client netip.Addr, boot *fleet.Boot, edges []string, event *kilnv1.BootEvent) (string, error) {
	if boot.LocalDisk {
		event.Detail = "boots from its own disk"
		return DiskScript, nil
	}
	platforms := boot.Release.GetPlatforms()
	macs := boot.MACs()
	if len(platforms) != 1 && len(macs) > 0 {
		event.Detail = "is told where its script is"
		return loaderconf.AutoexecChain(edges, macs[0]), nil
	}
	arch := "x86_64"
	if platforms["linux/arm64"] != nil {
		arch = "arm64"
	}
	script, err := m.Script(client, edges, boot, arch, event)
	return loaderconf.AutoexecScript(script), err
}

// Platforms are what a machine boots, for those architectures for which its release has files, with the token of one boot.
func (m *Machines) Platforms(client netip.Addr, boot *fleet.Boot, event *kilnv1.BootEvent, by string, archs []string) (map[string]loaderconf.Platform, error) {
	token, id, err := m.Token(client, boot)
	if err != nil {
		return nil, err
	}
	out := map[string]loaderconf.Platform{}
	var failed error
	for _, arch := range archs {
		p, n, err := m.platform(client, boot, arch, token)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		out[arch], event.Files = p, max(event.Files, n)
	}
	if len(out) == 0 {
		return nil, failed
	}
	event.Boot, event.Detail = id, "release "+boot.Release.GetName()+" by "+by
	if boot.Once {
		event.Once = boot.Release.GetName()
		event.Detail += " (once)"
	}
	return out, nil
}

func (m *Machines) platform(client netip.Addr, boot *fleet.Boot, arch, token string) (p loaderconf.Platform, files uint32, err error) {
	f, err := boot.Files(arch)
	if err != nil {
		return p, 0, err
	}
	if boot.UKI || f.GetKernel() == nil {
		macs := boot.MACs()
		if f.GetUki() == nil || len(macs) == 0 {
			return p, 0, fmt.Errorf("release %s has no unified kernel image for %s, or the machine no MAC to ask for it by", boot.Release.GetName(), arch)
		}
		return loaderconf.Platform{UKI: UKIPath + macs[0] + ".efi?arch=" + arch}, 1, nil
	}
	line, err := boot.Cmdline(f, m.KnownAddress(boot, client))
	if err != nil {
		return p, 0, err
	}
	if p.Cmdline, err = fleet.KernelLine(line, token, m.Edges(), ""); err != nil {
		return p, 0, err
	}
	at := func(ref *kilnv1.FileRef) string {
		return FilesPath + token + "/" + strings.TrimPrefix(ref.GetDigest(), "sha256:")
	}
	p.Kernel = at(f.GetKernel())
	for _, ref := range f.GetInitrds() {
		p.Initrds = append(p.Initrds, at(ref))
	}
	return p, FilesNamed(f), nil
}

// PiFile is a file of the release that a Raspberry Pi boots.
func (m *Machines) PiFile(client netip.Addr, a loaderconf.Asked) (*kilnv1.FileRef, error) {
	if b, ok := m.Seen.Bound(client.Unmap()); ok && a.ID.MAC == "" {
		a.ID.MAC = b.MAC
	}
	boot, err := m.Intents.Index().Resolve(a.ID)
	if err != nil || boot.LocalDisk {
		return nil, errors.Join(ErrNobodys, err)
	}
	f, err := boot.Files("arm64")
	switch {
	case err != nil:
		return nil, errors.Join(ErrNobodys, err)
	case a.Kind == loaderconf.PiKernel && f.GetKernel() != nil:
		return f.GetKernel(), nil
	case a.Kind == loaderconf.PiInitrd && a.Number < len(f.GetInitrds()):
		return f.GetInitrds()[a.Number], nil
	}
	return nil, ErrNobodys
}
