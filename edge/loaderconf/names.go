package loaderconf

import (
	"path"
	"regexp"
	"strings"

	"github.com/kiln-farm/kiln/fleet"
)

// Kind is what is asked for.
type Kind int

// The kinds.
const (
	None       Kind = iota
	Autoexec        // iPXE's script
	GRUB            // GRUB's configuration
	PiConfig        // a Raspberry Pi's config.txt
	PiCmdline       // its cmdline.txt
	PiKernel        // its kernel
	PiInitrd        // the initrd of number Asked.Number
	PiFirmware      // a file of its firmware, by Asked.File
)

// Asked is what a name means.
type Asked struct {
	Kind   Kind
	ID     fleet.Identity // that the name says; empty: it says no more than the client's address does
	Number int
	File   string
}

const (
	autoexec = "autoexec.ipxe"
	grubName = "grub.cfg"
	ethernet = "01-" // the hardware type before a MAC
	maxName  = 200
)

var (
	hexAddress = regexp.MustCompile(`^[0-9A-F]{1,8}$`)
	piSerial   = regexp.MustCompile(`^[0-9a-f]{8}$`)
	piInitrd   = regexp.MustCompile(`^kiln-initrd([0-9]{1,2})$`)
	piFirmware = regexp.MustCompile(`^([a-z0-9][a-z0-9_.+-]{0,60}\.(elf|dat|dtb|dtbo|bin))$`)
)

// Parse reads a name of TFTP or a path of HTTP. A configuration may be asked for in any folder, as loaders do that were built with
// one.
func Parse(name string) Asked {
	name = strings.TrimLeft(name, "/")
	if len(name) > maxName || name == "" || path.Clean(name) != name {
		return Asked{}
	}
	folder, file := path.Split(name)
	folder = strings.TrimSuffix(folder, "/")
	switch {
	case file == autoexec && (folder == "" || folder == "loaders"):
		return Asked{Kind: Autoexec}
	case file == grubName:
		return Asked{Kind: GRUB}
	case strings.HasPrefix(file, grubName+"-"):
		return grub(strings.TrimPrefix(file, grubName+"-"))
	}
	return pi(folder, file)
}

// grub reads what stands behind the name of GRUB's configuration. Upstream's has a MAC alone, Debian's and SUSE's the hardware type.
func grub(suffix string) Asked {
	if uuid, err := fleet.UUID(suffix); err == nil {
		return Asked{Kind: GRUB, ID: fleet.Identity{UUID: uuid}}
	}
	if mac, ok := dashedMAC(strings.TrimPrefix(suffix, ethernet)); ok {
		return Asked{Kind: GRUB, ID: fleet.Identity{MAC: mac}}
	}
	if hexAddress.MatchString(suffix) {
		return Asked{Kind: GRUB}
	}
	return Asked{}
}

func dashedMAC(s string) (string, bool) {
	mac, err := fleet.MAC(s)
	return mac, err == nil && strings.ReplaceAll(mac, ":", "-") == strings.ToLower(s)
}

// pi reads a name of a Raspberry Pi, whose folder is its serial number, its MAC, or none.
func pi(folder, file string) Asked {
	var a Asked
	switch mac, ok := dashedMAC(folder); {
	case ok:
		a.ID.MAC = mac
	case folder != "" && !piSerial.MatchString(folder) && folder != "overlays":
		return Asked{}
	}
	switch m := piInitrd.FindStringSubmatch(file); {
	case file == "config.txt":
		a.Kind = PiConfig
	case file == "cmdline.txt":
		a.Kind = PiCmdline
	case file == piKernel:
		a.Kind = PiKernel
	case m != nil:
		a.Kind = PiInitrd
		for _, c := range m[1] {
			a.Number = 10*a.Number + int(c-'0')
		}
	case piFirmware.MatchString(file):
		a.Kind, a.File = PiFirmware, file
	default:
		return Asked{}
	}
	return a
}
