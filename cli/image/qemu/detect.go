package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/kiln-farm/kiln/internal/userfile"
)

// Kind is how an image is started.
type Kind string

// The kinds.
const (
	Files Kind = "kernel and initrd"           // by QEMU itself
	Root  Kind = "kernel and root file system" // by QEMU itself, with the root as a disk
	Disk  Kind = "disk"
	CD    Kind = "ISO"
	UKI   Kind = "unified kernel image"
)

// Image is something to start.
type Image struct {
	Kind   Kind
	Arch   string // "amd64" or "arm64"
	UEFI   bool   // it boots with UEFI, not with a BIOS
	Format string // of Disk, as QEMU calls it: "raw", "qcow2", "vpc", "vmdk"
	Path   string // of Disk, CD and UKI; of Root that of the file system
	Kernel string // of Files and Root
	Initrd string // of Files
	Line   string // kernel command line of Files and Root
}

// Detect says what is at path: a file, or what the files of a build begin with (NAME-kernel, NAME-initrd.img, …).
func Detect(path string) (*Image, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return detectFiles(path)
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory: name an image in it, or what the names of its files begin with", path)
	}
	if prefix, ok := strings.CutSuffix(path, "-kernel"); ok {
		return detectFiles(prefix)
	}
	f, err := userfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	image, err := look(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	image.Path = path
	return image, nil
}

// maxLine bounds a kernel's command line, in bytes.
const maxLine = 1 << 20

// detectFiles takes the files of the formats that begin with a kernel.
func detectFiles(prefix string) (*Image, error) {
	image := &Image{Kind: Files, Kernel: prefix + "-kernel", Initrd: prefix + "-initrd.img"}
	kernel, err := userfile.Open(image.Kernel)
	if errors.Is(err, userfile.ErrNotRegular) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("there is no %s, and no %s: build it with kiln build", prefix, image.Kernel)
	}
	defer kernel.Close()
	image.Arch = kernelArch(kernel)
	if line, err := userfile.ReadFile(prefix+"-cmdline", maxLine); err == nil {
		image.Line = strings.TrimSpace(string(line))
	}
	if _, err := os.Stat(image.Initrd); err == nil {
		return image, nil
	}
	for _, suffix := range []string{"-squashfs.img", "-erofs.img", ".iso"} {
		if _, err := os.Stat(prefix + suffix); err == nil {
			image.Kind, image.Path, image.Initrd = Root, prefix+suffix, ""
			return image, nil
		}
	}
	return nil, fmt.Errorf("beside %s there is neither %s nor a root file system: build kernel+initrd, or name another file", image.Kernel, image.Initrd)
}

// kernelArch tells arm64's Image by its magic (Documentation/arch/arm64/booting.rst); what else there is is a PC's.
func kernelArch(r io.ReaderAt) string {
	var head [64]byte
	if _, err := r.ReadAt(head[:], 0); err == nil && string(head[56:60]) == "ARM\x64" {
		return "arm64"
	}
	return "amd64"
}

// look tells formats by what they begin and end with.
func look(r io.ReaderAt, size int64) (*Image, error) {
	head := make([]byte, 64<<10)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("QFI\xfb")):
		return diskIn(r, size, "qcow2"), nil
	case bytes.HasPrefix(head, []byte("KDMV")):
		return diskIn(r, size, "vmdk"), nil
	case endsWithVHD(r, size):
		return diskIn(r, size, "vpc"), nil
	case len(head) > 0x8006 && string(head[0x8001:0x8006]) == "CD001":
		image := diskIn(r, size, "raw")
		image.Kind = CD
		return image, nil
	case bytes.HasPrefix(head, []byte("MZ")):
		return lookUKI(head)
	case len(head) >= 512 && head[510] == 0x55 && head[511] == 0xaa:
		return diskIn(r, size, "raw"), nil
	}
	return nil, errors.New("it is no image that a machine boots: it is no disk (raw, qcow2, VHD, VMDK), ISO or unified kernel image")
}

// endsWithVHD looks for a VHD's footer in the last sector.
func endsWithVHD(r io.ReaderAt, size int64) bool {
	var footer [8]byte
	if size < 512 {
		return false
	}
	_, err := r.ReadAt(footer[:], size-512)
	return err == nil && string(footer[:]) == "conectix"
}

// machines are PE's numbers.
var machines = map[uint16]string{0x8664: "amd64", 0xaa64: "arm64"}

func lookUKI(head []byte) (*Image, error) {
	at := int(binary.LittleEndian.Uint32(append(head[60:64:64], 0, 0, 0, 0)))
	if at < 0 || at+6 > len(head) || string(head[at:at+4]) != "PE\x00\x00" {
		return nil, errors.New("it is a damaged EFI program")
	}
	arch, ok := machines[binary.LittleEndian.Uint16(head[at+4:])]
	if !ok {
		return nil, errors.New("it is an EFI program for another architecture than amd64 and arm64")
	}
	return &Image{Kind: UKI, Arch: arch, UEFI: true}, nil
}

const (
	searched = 64 << 20 // bytes of a disk in which its boot program is looked for: directories are at a volume's begin
	window   = 1 << 20
)

// diskIn is a disk that boots with UEFI when a directory in it has UEFI's boot program (as FAT writes its name).
func diskIn(r io.ReaderAt, size int64, format string) *Image {
	image := &Image{Kind: Disk, Format: format, Arch: "amd64"}
	names := map[string][]byte{"amd64": []byte("BOOTX64 EFI"), "arm64": []byte("BOOTAA64EFI")}
	buffer := make([]byte, window+16)
	for at := int64(0); at < min(size, searched); at += window {
		n, err := r.ReadAt(buffer, at)
		if err != nil && err != io.EOF {
			return image
		}
		for _, arch := range []string{"amd64", "arm64"} {
			if bytes.Contains(buffer[:n], names[arch]) {
				image.Arch, image.UEFI = arch, true
				return image
			}
		}
	}
	return image
}
