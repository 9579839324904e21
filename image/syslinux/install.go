package syslinux

import (
	"bytes"
	"encoding/binary"
	"math"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat"
	"github.com/kiln-farm/kiln/image/step"
)

const (
	sysName = "ldlinux.sys"
	maxRun  = 127 // sectors that the loader reads at once, as it counts their bytes with 16 bits
)

// Build lays out a FAT volume with the files and with SYSLINUX. dir is the directory of the volume in which ldlinux.sys, ldlinux.c32
// and the configuration are, "" for the root directory.
func Build(files []fat.File, opts fat.Options, loader *Loader, dir string) (*fat.Image, error) {
	dir = strings.Trim(dir, "/")
	sys, boot := make([]byte, loader.Size()), loader.boot
	// The layout depends on the length of ldlinux.sys alone: once for the place, and once with what knows it.
	build := func() (*fat.Image, error) {
		all := append([]fat.File{{Path: path.Join(dir, sysName), Content: extents.Bytes(sys)}}, files...)
		with := opts
		with.BootSector = boot
		return fat.Build(all, with)
	}
	img, err := build()
	if err != nil {
		return nil, err
	}
	off, ok := img.Offset(path.Join(dir, sysName))
	if !ok {
		return nil, step.Failf("the directory %q for SYSLINUX cannot be in a FAT volume: give one like boot/syslinux", dir)
	}
	if sys, boot, err = loader.Patch(uint64(off/sector), dir); err != nil {
		return nil, err
	}
	return build()
}

// Patch returns ldlinux.sys for a place that begins with that sector of its volume, and the boot sector that loads it, of
// which the volume's own parameters stay to be written. dir is as for Build.
func (l *Loader) Patch(first uint64, dir string) (sys, boot []byte, err error) {
	sectors := len(l.sys) / sector
	if first > math.MaxInt64 || sectors > math.MaxUint16 {
		return nil, nil, step.Failf("ldlinux.sys cannot be at sector %d: make the volume smaller", first)
	}
	sys, boot = bytes.Clone(l.sys), bytes.Clone(l.boot)
	le := binary.LittleEndian
	le.PutUint32(boot[l.first:], uint32(first))
	le.PutUint32(boot[l.firstTop:], uint32(first>>32))

	area := sys[l.patch:]
	le.PutUint16(area[atDataSectors:], uint16(sectors))
	le.PutUint16(area[atADVSectors:], advSectors)
	le.PutUint32(area[atDwords:], uint32(len(sys)/4))
	if err := l.writeMap(sys, first+1, sectors-1); err != nil {
		return nil, nil, err
	}
	for i := range advSectors {
		le.PutUint64(sys[l.adv+8*i:], first+uint64(sectors+i))
	}
	if err := l.writeDir(sys, dir); err != nil {
		return nil, nil, err
	}
	// All words together, with this one, are the magic number.
	le.PutUint32(area[atChecksum:], 0)
	sum := uint32(magic)
	for at := 0; at < len(sys); at += 4 {
		sum -= le.Uint32(sys[at:])
	}
	le.PutUint32(area[atChecksum:], sum)
	for range advSectors {
		sys = append(sys, emptyADV()...)
	}
	return sys, boot, nil
}

// writeMap tells in which runs the other sectors are.
func (l *Loader) writeMap(sys []byte, next uint64, sectors int) error {
	places := sys[l.extents : l.extents+l.counts*extentSize]
	clear(places)
	for sectors > 0 {
		n := min(sectors, maxRun)
		if len(places) < extentSize {
			return step.Failf("ldlinux.sys has room for %d runs of sectors, which is too few for its size: it is broken; take it from the boot loader's package again", l.counts)
		}
		binary.LittleEndian.PutUint64(places, next)
		binary.LittleEndian.PutUint16(places[8:], uint16(n))
		places, next, sectors = places[extentSize:], next+uint64(n), sectors-n
	}
	return nil
}

// writeDir tells the directory, absolute and ended by a zero; none at all for the root directory.
func (l *Loader) writeDir(sys []byte, dir string) error {
	place := sys[l.dir : l.dir+l.dirLen]
	clear(place)
	if dir = strings.Trim(dir, "/"); dir == "" {
		return nil
	}
	if len(dir)+2 > len(place) {
		return step.Failf("the directory %q for SYSLINUX has %d bytes, and it can have up to %d: give a shorter one", dir, len(dir), max(len(place)-2, 0))
	}
	copy(place, "/"+dir)
	return nil
}

// emptyADV is an auxiliary data vector with nothing in it.
func emptyADV() []byte {
	b, le := make([]byte, sector), binary.LittleEndian
	le.PutUint32(b, advHead)
	le.PutUint32(b[4:], advSum) // less the sum of what is in it
	le.PutUint32(b[sector-4:], advTail)
	return b
}
