package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/image/qemu"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// runFlags say how to start a machine.
type runFlags struct {
	arch, accel, serial     string
	data, dataFile          string
	state, stateSize        string
	code, vars              string
	initrd, cmdline         string
	memory, cpus            int
	publish, extra          []string
	uefi, bios, print, keep bool
}

func NewRun(env ui.Env) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] FILE|NAME",
		Short: "Boot an image in QEMU",
		Long: `Boot an image in QEMU, with the firmware that it is for: a disk (raw, qcow2, VHD, VMDK), an ISO, a unified kernel image,
NAME-kernel with NAME-initrd.img or a root file system, or an archive of these (gcp, tar-kernel-initrd, oci). The machine's serial console is the terminal; Ctrl-A X ends it.
What it writes to its disk is forgotten, unless --keep says otherwise.`,
		Example: `  kiln run hello
  kiln run --publish 8080:80 hello-efi.img
  kiln run --data '{"ssh": {"entries": {}}}' --state state.img hello.iso
  kiln run --print hello.qcow2`,
		Args: ui.Between(1, 1, "a FILE, or the NAME of a build"),
		RunE: func(cmd *cobra.Command, args []string) error { return runMachine(cmd.Context(), env, &f, args[0]) },
	}
	f.add(cmd.Flags())
	return cmd
}

func (f *runFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.arch, "arch", "", "amd64 or arm64 (default: the image's)")
	flags.StringVar(&f.accel, "accel", "", "QEMU's accelerator: kvm, hvf or tcg (default: the fastest that works here)")
	flags.IntVar(&f.memory, "mem", 1024, "memory in MiB")
	flags.IntVar(&f.cpus, "cpus", 1, "processors")
	flags.StringArrayVar(&f.publish, "publish", nil, "HOSTPORT:PORT[/udp]: reach a port of the machine at a port of this host; repeatable")
	flags.StringVar(&f.data, "data", "", "metadata for the machine, as text")
	flags.StringVar(&f.dataFile, "data-file", "", "metadata for the machine, out of a file")
	flags.StringVar(&f.state, "state", "", "file that is a disk for state; made when it is not there")
	flags.StringVar(&f.stateSize, "state-size", "1G", "size of a new disk for state")
	flags.StringVar(&f.serial, "serial", "stdio", "where the serial console goes: stdio or file:PATH")
	flags.StringVar(&f.initrd, "initrd", "", "initrd that mounts the root file system, where the kernel cannot by itself")
	flags.StringVar(&f.cmdline, "append", "", "text to put behind the kernel's command line, where there is no boot loader")
	flags.BoolVar(&f.uefi, "uefi", false, "start it with UEFI (default: as the image wants)")
	flags.BoolVar(&f.bios, "bios", false, "start it with a BIOS (default: as the image wants)")
	flags.StringVar(&f.code, "firmware", "", "UEFI firmware (default: where distributions have OVMF and AAVMF)")
	flags.StringVar(&f.vars, "firmware-vars", "", "template of the firmware's variables; copied")
	flags.BoolVar(&f.keep, "keep", false, "keep what the machine writes to its disk")
	flags.BoolVar(&f.print, "print", false, "print QEMU's command line and start nothing")
	flags.StringArrayVar(&f.extra, "qemu", nil, "a further argument of QEMU; repeatable")
}

// stopWait is how long a machine may take to end when it is told to.
const stopWait = 5 * time.Second

func runMachine(ctx context.Context, env ui.Env, f *runFlags, path string) (err error) {
	dir, err := os.MkdirTemp("", "kiln-run-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.leave(dir, err, env)) }()
	image, err := f.find(path, dir)
	if err != nil {
		return err
	}
	o := qemu.Options{Memory: f.memory, CPUs: f.cpus, Accel: f.accel, Publish: f.publish, Initrd: f.initrd, Append: f.cmdline, Keep: f.keep, Extra: f.extra, State: f.state}
	if o.Accel == "" {
		o.Accel = accelerator(image.Arch)
	}
	if err := f.prepare(ctx, image, &o, dir); err != nil {
		return err
	}
	args, err := qemu.Command(image, o)
	if err != nil {
		return ui.Usagef("%w", err)
	}
	if rest, ok := strings.CutPrefix(f.serial, "file:"); ok {
		for i, a := range args {
			if a == "mon:stdio" {
				args[i] = "file:" + rest
			}
		}
	} else if f.serial != "stdio" {
		return ui.Usagef("--serial %q: it is stdio or file:PATH", f.serial)
	}
	if f.print {
		_, err := fmt.Fprintln(env.Stdout, shellWords(args))
		return err
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		return ui.Usagef("%s is not installed: on Debian, apt-get install %s", args[0], map[string]string{"amd64": "qemu-system-x86", "arm64": "qemu-system-arm"}[image.Arch])
	}
	cmd := exec.CommandContext(ctx, program, args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWait
	cmd.Stdin, cmd.Stdout, cmd.Stderr = env.Stdin, env.Stdout, env.Stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ui.ErrStopped
		}
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

// leave removes what was made for the machine, but not what a command line that was printed names.
func (f *runFlags) leave(dir string, failed error, env ui.Env) error {
	if !f.print || failed != nil || os.Remove(dir) == nil {
		return os.RemoveAll(dir)
	}
	_, err := fmt.Fprintf(env.Stderr, "the files in %s are for this command: remove them when you no longer need it\n", dir)
	return err
}

// find looks at what there is at path. What is in an archive is unpacked into dir.
func (f *runFlags) find(path, dir string) (*qemu.Image, error) {
	unpacked, err := qemu.Unpack(path, dir)
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	if unpacked != path && f.keep {
		return nil, ui.Usagef("%s is an archive, and what the machine writes cannot be kept in it: unpack it, or leave --keep out", path)
	}
	image, err := qemu.Detect(unpacked)
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	if f.initrd != "" && image.Kind != qemu.Root {
		return nil, ui.Usagef("--initrd is for kernels with a root file system, and %s is a %s: leave it out", path, image.Kind)
	}
	return image, f.adjust(image)
}

// adjust is what flags say otherwise than the image.
func (f *runFlags) adjust(image *qemu.Image) error {
	switch {
	case f.uefi && f.bios:
		return ui.Usagef("--uefi and --bios exclude each other: leave one of them out")
	case f.data != "" && f.dataFile != "":
		return ui.Usagef("--data and --data-file exclude each other: leave one of them out")
	case f.memory < 64 || f.cpus < 1:
		return ui.Usagef("a machine has 64 MiB of memory and one processor at least: see --mem and --cpus")
	}
	if f.arch != "" {
		arch, err := ui.ParseArch("--arch", f.arch)
		if err != nil {
			return err
		}
		image.Arch = ui.BaseArch(arch)
	}
	image.UEFI = (image.UEFI || f.uefi) && !f.bios
	if image.UEFI && f.code == "" {
		var err error
		if f.code, f.vars, err = firmware(image.Arch, f.vars); err != nil {
			return err
		}
	}
	return nil
}

// firmwares are where distributions have UEFI firmware and its empty variables.
var firmwares = map[string][][2]string{
	"amd64": {
		{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"}, {"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
		{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"}, {"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
	},
	"arm64": {
		{"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"}, {"/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"},
	},
}

func firmware(arch, vars string) (string, string, error) {
	for _, f := range firmwares[arch] {
		if _, err := os.Stat(f[0]); err != nil {
			continue
		}
		if vars == "" {
			vars = f[1]
		}
		return f[0], vars, nil
	}
	return "", "", ui.Usagef("there is no UEFI firmware for %s here: on Debian, apt-get install %s; or name it with --firmware and --firmware-vars",
		arch, map[string]string{"amd64": "ovmf", "arm64": "qemu-efi-aarch64"}[arch])
}

// accelerator is the fastest that works. A KVM without the processor's own support for it, as some virtual machines
// offer, hangs in firmware.
func accelerator(arch string) string {
	if arch != runtime.GOARCH {
		return "tcg"
	}
	if runtime.GOOS == "darwin" {
		return "hvf"
	}
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return "tcg"
	}
	device.Close()
	if arch == "amd64" {
		cpu, _ := os.ReadFile("/proc/cpuinfo") // without it there is nothing to go by
		words := strings.Fields(string(cpu))
		found := false
		for _, w := range words {
			found = found || w == "vmx" || w == "svm"
		}
		if !found {
			return "tcg"
		}
	}
	return "kvm"
}

// shellWords quotes what a shell would take apart.
func shellWords(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if out[i] = a; a == "" || strings.ContainsAny(a, " \t\n\"'\\$&|;<>()*?[]#~`{}") {
			out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}

// prepare makes the files that the machine needs beside the image.
func (f *runFlags) prepare(ctx context.Context, image *qemu.Image, o *qemu.Options, dir string) error {
	if image.UEFI {
		o.Code, o.Vars = f.code, filepath.Join(dir, "vars.fd")
		if err := copyTo(o.Vars, f.vars); err != nil {
			return ui.Usagef("the firmware's variables: %w", err)
		}
	}
	if image.Kind == qemu.UKI {
		o.UKIDisk = filepath.Join(dir, "disk.img")
		if err := qemu.WriteUKIDisk(ctx, o.UKIDisk, image, dir); err != nil {
			return err
		}
	}
	data := []byte(f.data)
	if f.dataFile != "" {
		var err error
		if data, err = userfile.Read(ctx, f.dataFile, maxData); err != nil {
			return ui.Usagef("--data-file %s: %w", f.dataFile, userfile.Cause(err))
		}
	}
	if len(data) > 0 {
		o.Data = filepath.Join(dir, "data.iso")
		if err := qemu.WriteData(ctx, o.Data, data, dir); err != nil {
			return err
		}
	}
	return f.makeState()
}

// makeState makes the disk for state when it is not there.
func (f *runFlags) makeState() error {
	if f.state == "" {
		return nil
	}
	n, err := ui.ParseDiskSize("--state-size", f.stateSize)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(f.state, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(file.Truncate(n), file.Close())
	}
	if err != nil {
		return ui.Usagef("--state %s: %w", f.state, userfile.Cause(err))
	}
	return nil
}

const (
	// maxData bounds a machine's metadata, in bytes.
	maxData = 64 << 20
	// maxVars bounds the firmware's variables, in bytes: they are a few MiB.
	maxVars = 256 << 20
)

func copyTo(to, from string) error {
	data, err := userfile.ReadFile(from, maxVars)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	return err
}
