package qemu

import (
	"fmt"
	"strconv"
	"strings"
)

// Options say what machine to start.
type Options struct {
	Memory  int // MiB
	CPUs    int
	Accel   string   // "tcg", "kvm" or "hvf"
	Publish []string // "8080:80": a port of this host and one of the machine; "…/udp"
	State   string   // path of a disk for state; empty: none
	Data    string   // path of an ISO with the machine's metadata; empty: none
	Initrd  string   // of Root; empty: the kernel mounts it by itself
	Append  string   // put behind the command line of Files and Root
	Keep    bool     // what the machine writes to its disk stays
	// Firmware of UEFI: code, and variables of this machine alone. Disk of a UKI: a disk that has it.
	Code, Vars, UKIDisk string
	Extra               []string // further arguments of QEMU
}

// Command is the command line of the machine that boots image. The machine's serial console is QEMU's standard input
// and output, and nothing of it listens but the ports to publish, on loopback.
func Command(image *Image, o Options) ([]string, error) {
	var args []string
	add := func(more ...string) { args = append(args, more...) }
	cpu := "max"
	if o.Accel != "tcg" {
		cpu = "host"
	}
	switch image.Arch {
	case "amd64":
		add("qemu-system-x86_64", "-machine", "q35,graphics=off")
	case "arm64":
		if !image.UEFI && image.Kernel == "" {
			return nil, fmt.Errorf("machines of arm64 have no BIOS: build a format for UEFI, such as raw-efi")
		}
		add("qemu-system-aarch64", "-machine", "virt,gic-version=3")
		if o.Accel == "tcg" {
			cpu = "cortex-a57"
		}
	default:
		return nil, fmt.Errorf("machines of %s cannot be started: choose amd64 or arm64", image.Arch)
	}
	add("-accel", o.Accel, "-cpu", cpu, "-m", strconv.Itoa(o.Memory), "-smp", strconv.Itoa(o.CPUs),
		"-nodefaults", "-display", "none", "-no-reboot", "-serial", "mon:stdio", "-device", "virtio-rng-pci")
	if image.UEFI {
		add("-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+quoted(o.Code), "-drive", "if=pflash,format=raw,unit=1,file="+quoted(o.Vars))
	}
	snapshot := ",snapshot=on"
	if o.Keep {
		snapshot = ""
	}
	disk := func(format, path, more string) { add("-drive", "if=virtio,format="+format+",file="+quoted(path)+more) }
	line := strings.TrimSpace(image.Line + " " + o.Append)
	switch image.Kind {
	case Files:
		add("-kernel", image.Kernel, "-initrd", image.Initrd, "-append", line)
	case Root:
		if !strings.Contains(" "+line, " root=") {
			line = strings.TrimSpace(line + " root=/dev/vda ro")
		}
		add("-kernel", image.Kernel)
		if o.Initrd != "" {
			add("-initrd", o.Initrd)
		}
		add("-append", line)
		disk("raw", image.Path, ",readonly=on")
	case Disk:
		disk(image.Format, image.Path, snapshot)
	case UKI:
		disk("raw", o.UKIDisk, ",snapshot=on")
	case CD:
		// As a CD for firmware, and as a disk too: kernels for clouds have no driver of a CD.
		if image.Arch == "arm64" {
			add("-device", "virtio-scsi-pci", "-drive", "if=none,id=cd,format=raw,readonly=on,file="+quoted(image.Path), "-device", "scsi-cd,drive=cd,bootindex=0")
		} else {
			add("-drive", "if=none,id=cd,media=cdrom,readonly=on,file="+quoted(image.Path), "-device", "ide-cd,drive=cd,bootindex=0")
		}
		disk("raw", image.Path, ",readonly=on")
	}
	if o.State != "" {
		disk("raw", o.State, "")
	}
	if o.Data != "" {
		disk("raw", o.Data, ",readonly=on")
	}
	network := "user,id=n0"
	for _, p := range o.Publish {
		forward, err := forwarding(p)
		if err != nil {
			return nil, err
		}
		network += ",hostfwd=" + forward
	}
	add("-netdev", network, "-device", "virtio-net-pci,netdev=n0,romfile=")
	return append(args, o.Extra...), nil
}

// quoted is a path in one of QEMU's lists, where a comma is written twice.
func quoted(path string) string { return strings.ReplaceAll(path, ",", ",,") }

// forwarding is "8080:80/udp" as QEMU has it.
func forwarding(publish string) (string, error) {
	ports, protocol, ok := strings.Cut(publish, "/")
	if !ok {
		protocol = "tcp"
	}
	host, guest, ok := strings.Cut(ports, ":")
	for _, port := range []string{host, guest} {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			ok = false
		}
	}
	if !ok || protocol != "tcp" && protocol != "udp" {
		return "", fmt.Errorf("%q: it is HOSTPORT:PORT, such as 8080:80 or 5353:53/udp", publish)
	}
	return protocol + ":127.0.0.1:" + host + "-:" + guest, nil
}
