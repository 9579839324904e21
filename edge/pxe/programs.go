package pxe

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/machines"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Programs are what firmware may boot next at an edge.
type Programs struct {
	URL string // of the edge: "http://10.0.0.2:7380"
	// Loaders are boot programs by their names ("undionly.kpxe"), as paths of this host.
	Loaders map[string]string
	// BIOS is the boot program of PC BIOSes, one of BIOSLoaders; empty: the first of them that is there.
	BIOS string
}

// BIOSLoaders are the boot programs for PC BIOSes that there may be.
func BIOSLoaders() []string { return []string{"ipxe", "pxelinux", "lpxelinux"} }

const (
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

// bootFile is what a client boots next: a name for TFTP, or a URL.
func (p Programs) bootFile(c dhcp.Client, boot *fleet.Boot) (string, error) {
	goarch := c.Arch.GOARCH
	if goarch == "" || goarch == "386" {
		goarch = "amd64"
	}
	files, err := boot.Files(goarch)
	if err != nil {
		return "", err
	}
	base, mac := p.URL, c.MAC.String()
	uki := machines.UKIPath + goarch + "/" + mac + ".efi"
	ukiURL := base + "/" + machines.UKIPath + mac + ".efi?arch=" + goarch
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
func (p Programs) loaderFor(c dhcp.Client, goarch string) string {
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
func (p Programs) loader(name string, files *kilnv1.ReleaseFiles, uki string) (string, error) {
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
