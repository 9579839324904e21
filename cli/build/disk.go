package build

import (
	"strings"

	"github.com/spf13/pflag"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/image/step"
)

// diskFlags say how formats that machines boot by themselves are made. The section "kiln" of the YAML says the same.
type diskFlags struct {
	boot, initrd    string
	cmdline, serial string
	size, state     string
	rootFS          string
}

func (f *diskFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.boot, "boot", "", "image with boot loaders, for formats that need some (KILN_BOOT)")
	flags.StringVar(&f.initrd, "initrd", "", "image that becomes the initrd where the root filesystem is on the disk (KILN_INITRD)")
	flags.StringVar(&f.cmdline, "append", "", "text to put behind the kernel's command line")
	flags.StringVar(&f.serial, "serial", "", "console to put behind the kernel's command line, such as ttyS0")
	flags.StringVar(&f.size, "disk-size", "", "size of disks, such as 4G (default: as small as they can be)")
	flags.StringVar(&f.state, "state-size", "", "size of a partition for state, such as 1G (default: none)")
	flags.StringVar(&f.rootFS, "root-fs", "", "file system of raw-efi-verity: erofs or squashfs (default erofs)")
}

// set checks the flags and has the build shaped as they say.
func (f *diskFlags) set(s *kilnv1.BuildOptions) (err error) {
	s.Boot, s.Initrd, s.Cmdline, s.Serial, s.RootFs = f.boot, f.initrd, f.cmdline, f.serial, f.rootFS
	if s.DiskSize, err = ui.ParseDiskSize("--disk-size", f.size); err != nil {
		return err
	}
	if s.StateSize, err = ui.ParseDiskSize("--state-size", f.state); err != nil {
		return err
	}
	switch {
	case f.rootFS != "" && f.rootFS != step.EROFS && f.rootFS != step.SquashFS:
		return ui.Usagef("--root-fs %q: it is %s or %s", f.rootFS, step.EROFS, step.SquashFS)
	case strings.ContainsAny(f.cmdline, "\n\x00"):
		return ui.Usagef("--append: a command line has one line")
	case strings.ContainsAny(f.serial, " \n\x00"):
		return ui.Usagef("--serial %q: it is a console's name, such as ttyS0 or ttyS0,115200", f.serial)
	}
	return nil
}
