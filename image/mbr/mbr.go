// Package mbr lays out disks with a DOS partition table, which a BIOS starts from.
//
// Every BIOS can start a disk with a boot sector, and some clouds and boards start nothing else. Build writes that sector
// and takes the partitions as they are: at multiples of 1 MiB, in the order that they are given, the first at 1 MiB.
//
// Source: the table's layout as in the UEFI specification 2.10, section 5.2.1; cylinders, heads and sectors as a BIOS
// reports them for large disks (255 heads, 63 sectors), 1023/254/63 for what is beyond them.
//
// It reads no clock and makes no random number: the disk's signature is an option.
package mbr

import (
	"encoding/binary"
	"math"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// Align is where partitions begin: at multiples of it, in bytes.
const Align = 1 << 20

// Types of partitions.
const (
	FAT16 byte = 0x0e // by sector numbers
	FAT32 byte = 0x0c // by sector numbers
	Linux byte = 0x83
	EFI   byte = 0xef // an EFI system partition
)

const (
	sector     = 512
	maxParts   = 4
	bootCode   = 440
	heads      = 255
	perTrack   = 63
	maxSectors = math.MaxUint32 // that the table can name
)

// Partition is a partition of a disk.
type Partition struct {
	Type    byte          // FAT32, Linux, ...
	Active  bool          // the boot code starts this one
	Content *extents.List // nil: zeros
	Size    int64         // in bytes, a multiple of 512; 0: that of the content, rounded up to 1 MiB
}

// Options are what the disk has beside partitions.
type Options struct {
	Signature uint32 // of the disk: what root=PARTUUID=... names, with the partition's number
	Size      int64  // of the disk in bytes, a multiple of 512; 0: as small as it can be
	BootCode  []byte // up to 440 bytes: what a BIOS starts, such as SYSLINUX's mbr.bin
}

// Start is where each of the partitions begins, in bytes, with a last one for where the next would. Contents that depend on their place
// (FAT has its first sector in itself) are made with it.
func Start(parts []Partition) ([]int64, error) {
	starts, at := make([]int64, 0, len(parts)+1), int64(Align)
	for i, p := range parts {
		size, err := p.size(i)
		if err != nil {
			return nil, err
		}
		if (at+size)/sector > maxSectors {
			return nil, step.Failf("partition %d ends beyond 2 TiB, which a DOS partition table cannot say: make it smaller, or use a GPT, as formats for UEFI do", i+1)
		}
		starts = append(starts, at)
		at = (at + size + Align - 1) &^ (Align - 1)
	}
	return append(starts, at), nil
}

// Build lays out a disk.
func Build(parts []Partition, opts Options) (*extents.List, error) {
	if len(parts) == 0 || len(parts) > maxParts {
		return nil, step.Failf("a DOS partition table has 1 to %d partitions, not %d: use a GPT for more", maxParts, len(parts))
	}
	if len(opts.BootCode) > bootCode {
		return nil, step.Failf("the boot code of a disk has %d bytes and may have %d: give that of a boot loader, such as mbr.bin", len(opts.BootCode), bootCode)
	}
	starts, err := Start(parts)
	if err != nil {
		return nil, err
	}
	b, active := make([]byte, sector), 0
	copy(b, opts.BootCode)
	binary.LittleEndian.PutUint32(b[bootCode:], opts.Signature)
	for i, p := range parts {
		size, err := p.size(i)
		if err != nil {
			return nil, err
		}
		if p.Type == 0 {
			return nil, step.Failf("partition %d has no type: give it one", i+1)
		}
		if p.Active {
			active++
		}
		copy(b[446+16*i:], entry(p, starts[i]/sector, size/sector))
	}
	if active > 1 {
		return nil, step.Failf("%d partitions are active: mark the one to start", active)
	}
	b[510], b[511] = 0x55, 0xaa

	l := extents.Bytes(b)
	for i, p := range parts {
		if err := l.To(starts[i]); err != nil {
			return nil, err
		}
		if p.Content != nil {
			l.Append(p.Content)
		}
	}
	last := len(parts) - 1
	size, _ := parts[last].size(last)
	end := starts[last] + size
	disk := starts[last+1]
	if opts.Size != 0 {
		disk = opts.Size
	}
	if err := step.CheckDisk(disk, end, sector); err != nil {
		return nil, err
	}
	return l, l.To(disk)
}

// size is what partition number i takes.
func (p *Partition) size(i int) (int64, error) {
	var content int64
	if p.Content != nil {
		content = p.Content.Size()
	}
	switch {
	case p.Size == 0 && content == 0:
		return 0, step.Failf("partition %d has neither contents nor a size: give it one", i+1)
	case max(p.Size, content) > maxSectors*sector:
		return 0, step.Failf("partition %d has %d bytes, and a DOS partition table can say up to 2 TiB: make it smaller, or use a GPT, as formats for UEFI do", i+1, max(p.Size, content))
	case p.Size == 0:
		return (content + Align - 1) &^ (Align - 1), nil
	case p.Size < 0 || p.Size%sector != 0:
		return 0, step.Failf("partition %d cannot have %d bytes: choose a multiple of %d", i+1, p.Size, sector)
	case content > p.Size:
		return 0, step.Failf("partition %d has %d bytes and its contents have %d: make it larger", i+1, p.Size, content)
	}
	return p.Size, nil
}

// entry is a partition's place in the table, in sectors.
func entry(p Partition, start, count int64) []byte {
	e := make([]byte, 16)
	if p.Active {
		e[0] = 0x80
	}
	first, last := chs(start), chs(start+count-1)
	copy(e[1:], first[:])
	e[4] = p.Type
	copy(e[5:], last[:])
	binary.LittleEndian.PutUint32(e[8:], uint32(start))
	binary.LittleEndian.PutUint32(e[12:], uint32(count))
	return e
}

// chs is a sector by head, sector and cylinder.
func chs(lba int64) [3]byte {
	cylinder, head, sector := lba/(heads*perTrack), lba/perTrack%heads, lba%perTrack+1
	if cylinder > 1023 {
		cylinder, head, sector = 1023, heads-1, perTrack
	}
	return [3]byte{byte(head), byte(sector | cylinder>>8<<6), byte(cylinder)}
}
