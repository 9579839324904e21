package syslinux

import (
	"bytes"
	"encoding/binary"

	"github.com/kiln-farm/kiln/image/step"
)

const (
	sector = 512
	magic  = 0x3eb202fe
	// maxSys is more than fits into the memory that the loader has, 96 KiB from 32 KiB on.
	maxSys = 256 << 10

	patchAreaSize = 24
	extendedSize  = 20
	extentSize    = 10 // 8 bytes of a sector's number, 2 of a count

	// The boot sector: where code begins, and where its own magic number is.
	bootCode    = 90
	bootMagic   = 0x1f8
	bootJump    = 0xeb
	bootEndMark = 0xaa55
)

// The auxiliary data vector: two copies of a sector behind ldlinux.sys in which SYSLINUX keeps what it is told between starts.
const (
	advSectors = 2
	advHead    = 0x5a2d2fa5
	advSum     = 0xa3041767
	advTail    = 0xdd28bf64
)

// Places in the patch area, from its magic number on.
const (
	atInstance    = 4  // a number of this build
	atDataSectors = 8  // 16 bits
	atADVSectors  = 10 // 16 bits
	atDwords      = 12 // 32 bits
	atChecksum    = 16 // 32 bits
	atExtended    = 22 // 16 bits: where the extended patch area is
)

// Loader is SYSLINUX, checked and ready to be installed.
type Loader struct {
	sys   []byte // ldlinux.sys without the auxiliary data vector, in whole sectors
	boot  []byte // the boot sector
	patch int    // where the patch area is in sys

	adv             int // where the two sectors of the vector are told
	dir, dirLen     int // where the directory is told
	extents, counts int // where the sectors are told, and how many runs of them
	first, firstTop int // in boot: the first sector, its low and its high half
}

// Parse reads ldlinux.sys and the boot sector that belongs to it, installed or not. It does not change them.
func Parse(sys, boot []byte) (*Loader, error) {
	if len(sys) < 2*sector || len(sys) > maxSys {
		return nil, step.Failf("ldlinux.sys has %d bytes, and SYSLINUX's has %d to %d: give the file of SYSLINUX 6", len(sys), 2*sector, maxSys)
	}
	l := &Loader{patch: find(sys)}
	if l.patch < 0 {
		return nil, step.Failf("ldlinux.sys does not have the mark that SYSLINUX is patched by: give the file of SYSLINUX 6")
	}
	if err := l.setSys(sys); err != nil {
		return nil, err
	}
	if err := l.setBoot(boot); err != nil {
		return nil, err
	}
	return l, l.readAreas()
}

// Size is the size in bytes of ldlinux.sys as it is installed.
func (l *Loader) Size() int64 { return int64(len(l.sys)) + advSectors*sector }

// find is where the patch area is: in the first sector, at a multiple of 4. Negative when there is none.
func find(sys []byte) int {
	for at := 0; at+patchAreaSize <= sector; at += 4 {
		if binary.LittleEndian.Uint32(sys[at:]) == magic {
			return at
		}
	}
	return -1
}

// setSys takes what is the loader's own: a file that was installed says how much of it that is.
func (l *Loader) setSys(sys []byte) error {
	le := binary.LittleEndian
	n := int64(len(sys))
	if installed := le.Uint16(sys[l.patch+atDataSectors:]) != 0; installed {
		n = int64(le.Uint32(sys[l.patch+atDwords:])) * 4
		if n < 2*sector || n > int64(len(sys)) {
			return step.Failf("ldlinux.sys says that it has %d bytes and has %d: it is broken; take it from the boot loader's package again", n, len(sys))
		}
	}
	l.sys = make([]byte, (n+sector-1)/sector*sector)
	copy(l.sys, sys[:n])
	return nil
}

// setBoot takes the boot sector, which waits for the ldlinux.sys of its own build.
func (l *Loader) setBoot(boot []byte) error {
	le := binary.LittleEndian
	switch {
	case len(boot) != sector:
		return step.Failf("SYSLINUX's boot sector has %d bytes and needs %d: give the first sector of a volume that it was installed into", len(boot), sector)
	case boot[0] != bootJump || le.Uint16(boot[sector-2:]) != bootEndMark || le.Uint32(boot[bootMagic:]) != magic:
		return step.Failf("the boot sector is not SYSLINUX's: give the first sector of a volume that it was installed into")
	case !bytes.Contains(boot[bootCode:bootMagic], l.sys[l.patch+atInstance:l.patch+atInstance+4]):
		return step.Failf("the boot sector and ldlinux.sys are not of the same build of SYSLINUX, so they would not start: take both from one package")
	}
	l.boot = bytes.Clone(boot)
	return nil
}

// readAreas reads the extended patch area: ten offsets and lengths of 16 bits.
func (l *Loader) readAreas() error {
	at := int(binary.LittleEndian.Uint16(l.sys[l.patch+atExtended:]))
	if at+extendedSize > len(l.sys) {
		return broken("patch area", at)
	}
	field := func(i int) int { return int(binary.LittleEndian.Uint16(l.sys[at+2*i:])) }
	l.adv, l.dir, l.dirLen = field(0), field(1), field(2)
	l.extents, l.counts = field(5), field(6)
	l.first, l.firstTop = field(7), field(8)
	for _, area := range []struct {
		name     string
		at, size int
	}{{"data vector", l.adv, advSectors * 8}, {"directory", l.dir, l.dirLen}, {"map of sectors", l.extents, l.counts * extentSize}} {
		if area.at < l.patch+patchAreaSize || area.at+area.size > len(l.sys) {
			return broken(area.name, area.at)
		}
	}
	for _, at := range []int{l.first, l.firstTop} {
		if at < bootCode || at+4 > bootMagic {
			return broken("first sector", at)
		}
	}
	return nil
}

func broken(name string, at int) error {
	return step.Failf("ldlinux.sys says that its %s is at byte %d, where it cannot be: it is broken; take it from the boot loader's package again", name, at)
}
