package plan

import (
	"fmt"
	"slices"
	"strings"
)

// format is one kind of output: LinuxKit's name for it, and the files it consists of.
type format struct {
	name         string
	files        []outputFile
	boot, initrd bool     // whether it is made with the image of boot loaders, with that of the initrd for roots on disks
	archs        []string // the only ones that it is for; nil: any
}

// outputFile is one file of a format: what follows the build's name, and how its last node is made. The bool is false
// when this build has no such file. Files of one suffix and maker are the same file in every format.
type outputFile struct {
	suffix string
	maker  string // names node, which cannot be compared
	node   func(*image) (nodeOutput, bool)
}

func file(suffix, maker string, node func(*image) (nodeOutput, bool)) outputFile {
	return outputFile{suffix, maker, node}
}

var (
	pcs  = []string{"amd64"}
	uefi = []string{"amd64", "arm64"}
)

// allFormats are in the order in which messages list them. A new format is one row.
func allFormats() []format {
	kernel, initrd := file("-kernel", "kernel", (*image).kernelFile), file("-initrd.img", "initrd", (*image).initrdFile)
	cmdline := file("-cmdline", "cmdline", (*image).cmdlineFile)
	disk := func(suffix, layout, wrap string) []outputFile {
		return []outputFile{file(suffix, layout+" "+wrap, func(img *image) (nodeOutput, bool) { return img.diskFile(layout, wrap), true })}
	}
	return []format{
		{name: "tar", files: []outputFile{file(".tar", "tar", (*image).tar)}},
		{name: "docker", files: []outputFile{file(".docker", "docker", (*image).docker)}},
		{name: "kernel+initrd", files: []outputFile{kernel, initrd, cmdline}},
		{name: "tar-kernel-initrd", files: []outputFile{file("-initrd.tar", "boot tar", (*image).bootTar)}},
		{name: "kernel+squashfs", files: []outputFile{kernel, cmdline, file("-squashfs.img", "squashfs", (*image).squashfsFile)}},
		{name: "kernel+erofs", files: []outputFile{kernel, cmdline, file("-erofs.img", "erofs", (*image).erofsFile)}},
		{name: "kernel+iso", files: []outputFile{kernel, cmdline, file(".iso", "iso", (*image).isoFile)}},
		{name: "iso-bios", boot: true, initrd: true, archs: pcs, files: []outputFile{file(".iso", "iso-bios", (*image).isoBIOS)}},
		{name: "iso-efi", boot: true, initrd: true, archs: uefi, files: []outputFile{file("-efi.iso", "iso-efi", (*image).isoEFI)}},
		{name: "iso-efi-initrd", boot: true, archs: uefi, files: []outputFile{file("-efi-initrd.iso", "iso-efi-initrd", (*image).isoEFIInitrd)}},
		{name: "raw-bios", boot: true, archs: pcs, files: disk("-bios.img", "bios", "file")},
		{name: "raw-efi", boot: true, archs: uefi, files: disk("-efi.img", "efi", "file")},
		{name: "raw-efi-verity", boot: true, initrd: true, archs: uefi, files: disk("-verity.img", "verity", "file")},
		{name: "qcow2-bios", boot: true, archs: pcs, files: disk(".qcow2", "bios", "qcow2")},
		{name: "qcow2-efi", boot: true, archs: uefi, files: disk("-efi.qcow2", "efi", "qcow2")},
		{name: "aws", boot: true, archs: pcs, files: disk(".raw", "bios", "file")},
		{name: "gcp", boot: true, archs: pcs, files: disk(".img.tar.gz", "bios", "gcp")},
		{name: "vhd", boot: true, archs: pcs, files: disk(".vhd", "bios", "vhd")},
		{name: "dynamic-vhd", boot: true, archs: pcs, files: disk(".vhd", "bios", "dynamic-vhd")},
		{name: "vmdk", boot: true, archs: pcs, files: disk(".vmdk", "bios", "vmdk")},
		{name: "rpi3", boot: true, archs: []string{"arm64"}, files: []outputFile{file(".tar", "rpi3", (*image).rpi3)}},
		{name: "uki", boot: true, archs: uefi, files: []outputFile{file(".efi", "uki", (*image).ukiFile)}},
		{name: "ipxe", files: []outputFile{kernel, initrd, file(".ipxe", "ipxe", (*image).ipxeScript)}},
		{name: "oci", files: []outputFile{file("-oci.tar", "oci", (*image).ociLayout)}},
	}
}

// Formats lists the names of all formats.
func Formats() []string {
	var names []string
	for _, f := range allFormats() {
		names = append(names, f.name)
	}
	return names
}

// Suffixes lists what the files of a format add to a build's name; nil for an unknown format.
func Suffixes(name string) []string {
	var suffixes []string
	for _, f := range allFormats() {
		if f.name != name {
			continue
		}
		for _, file := range f.files {
			suffixes = append(suffixes, file.suffix)
		}
	}
	return suffixes
}

// authenticodeFile is what a build gives instead of its formats' files when somebody is to sign: a line for each image.
const authenticodeFile = ".authenticode"

// CheckFormats says in one sentence what is wrong with the formats that someone asks for.
func CheckFormats(names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("no format was asked for; name at least one of %s", strings.Join(Formats(), ", "))
	}
	type owner struct{ format, maker string }
	taken := map[string]owner{}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("format %s is asked for twice; name it once", name)
		}
		at := slices.IndexFunc(allFormats(), func(f format) bool { return f.name == name })
		if at < 0 {
			return fmt.Errorf("unknown format %q; Kiln makes %s", name, strings.Join(Formats(), ", "))
		}
		for _, file := range allFormats()[at].files {
			if other, ok := taken[file.suffix]; ok && other.maker != file.maker {
				return fmt.Errorf("formats %s and %s both write the file NAME%s; ask for one of them, or give each a build of its own", other.format, name, file.suffix)
			} else if !ok {
				taken[file.suffix] = owner{name, file.maker}
			}
		}
	}
	return nil
}

// CheckArch says in one sentence why a format cannot be made for an architecture.
func CheckArch(name, arch string) error {
	for _, f := range allFormats() {
		if f.name == name && f.archs != nil && !slices.Contains(f.archs, arch) {
			return fmt.Errorf("format %s is for %s only, not for %s; leave it out, or choose another --arch", name, strings.Join(f.archs, " and "), arch)
		}
	}
	return nil
}
