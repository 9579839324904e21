package iso9660

import (
	"bytes"
	"math"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// BIOS is what a BIOS starts: ISOLINUX.
type BIOS struct {
	Name  string // where the image is in the volume: "isolinux/isolinux.bin"
	Image []byte // isolinux.bin, of which a copy is changed
	// DiskCode is the code for the first sector of a disk, SYSLINUX's isohdpfx.bin; nil: the ISO starts from a CD only.
	DiskCode []byte
}

// EFI is what UEFI firmware starts.
type EFI struct {
	Name string // where the image is in the volume: "boot/efi.img"
	// Image is a FAT file system with EFI/BOOT/BOOTX64.EFI or another machine's program.
	Image *extents.List
}

// Boot information in isolinux.bin (SYSLINUX, doc/isolinux.txt, "boot information table"), offsets in bytes.
const (
	infoPrimaryAt  = 8
	infoFileAt     = 12
	infoLengthAt   = 16
	infoChecksumAt = 20
	infoEnd        = 64 // the checksum is over what follows

	maxBIOSImage = 1 << 20
	// loadSectors is what the BIOS loads, in sectors of 512 bytes; ISOLINUX loads the rest of itself.
	loadSectors = 4
)

// Boot catalog (El Torito §2.1 to §2.4).
const (
	catalogEntryLen = 32
	platformBIOS    = 0
	platformEFI     = 0xef // UEFI specification 2.10 §13.3.2.1
	bootable        = 0x88
	finalHeader     = 0x91

	diskSector = 512
)

func (b *BIOS) check() error {
	switch {
	case b == nil:
		return nil
	case len(b.Image) <= infoEnd || len(b.Image) > maxBIOSImage:
		return step.Failf("the boot image %s of %d bytes is not ISOLINUX; give isolinux.bin", b.Name, len(b.Image))
	case b.DiskCode == nil:
		return nil
	case len(b.DiskCode) == 0 || len(b.DiskCode) > diskCodeLen:
		return step.Failf("the boot code for disks of %d bytes is not SYSLINUX's for ISOs; give isohdpfx.bin, which has up to %d", len(b.DiskCode), diskCodeLen)
	case len(b.Image) < infoEnd+4 || le.Uint32(b.Image[infoEnd:]) != hybridMagic:
		return step.Failf("the boot image %s cannot start from a disk; give isolinux.bin of SYSLINUX 3.72 or newer", b.Name)
	}
	return nil
}

func (e *EFI) check() error {
	if e != nil && (e.Image == nil || e.Image.Size() == 0) {
		return step.Failf("the boot image %s for UEFI is empty; give a FAT file system", e.Name)
	}
	return nil
}

// patched is the image with its place in it, which ISOLINUX needs.
func (b *BIOS) patched(lba uint32) []byte {
	p := bytes.Clone(b.Image)
	clear(p[infoPrimaryAt:infoEnd])
	le.PutUint32(p[infoPrimaryAt:], positionOfPrimary)
	le.PutUint32(p[infoFileAt:], lba)
	le.PutUint32(p[infoLengthAt:], uint32(len(p)))
	var sum uint32
	for at := infoEnd; at < len(p); at += 4 {
		var word [4]byte // with zeros after the end
		copy(word[:], p[at:])
		sum += le.Uint32(word[:])
	}
	le.PutUint32(p[infoChecksumAt:], sum)
	return p
}

func (w *writer) boots() bool { return w.o.BIOS != nil || w.o.EFI != nil }

// bootCatalog says where the boot images are. The first one's platform is in the validation entry; a second one has a
// section of its own.
func (w *writer) bootCatalog() []byte {
	validation := make([]byte, catalogEntryLen)
	validation[0] = 1
	validation[30], validation[31] = 0x55, 0xaa
	if w.bios == nil {
		validation[1] = platformEFI
	}
	var sum uint16
	for at := 0; at < catalogEntryLen; at += 2 {
		sum += le.Uint16(validation[at:])
	}
	le.PutUint16(validation[28:], -sum)
	out := validation
	if w.bios != nil {
		out = append(out, catalogEntry(w.bios.lba, loadSectors)...)
	}
	if w.efi != nil {
		if w.bios != nil {
			header := make([]byte, catalogEntryLen)
			header[0], header[1], header[2] = finalHeader, platformEFI, 1
			out = append(out, header...)
		}
		// 16 bits cannot say more than 32 MiB. For 1 firmware takes what is from there to the end of the volume (EDK2,
		// PartitionDxe/ElTorito.c), so this image is the last.
		count := (w.efi.content.Size() + diskSector - 1) / diskSector
		if count > math.MaxUint16 {
			count = 1
		}
		out = append(out, catalogEntry(w.efi.lba, uint16(count))...)
	}
	return out
}

// catalogEntry is a boot image without emulation: its place, and how many sectors of 512 bytes to load.
func catalogEntry(lba uint32, count uint16) []byte {
	p := make([]byte, catalogEntryLen)
	p[0] = bootable
	le.PutUint16(p[6:], count)
	le.PutUint32(p[8:], lba)
	return p
}
