package gpt

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// Align is where partitions begin: at multiples of it, in bytes.
const Align = 1 << 20

const (
	sector       = 512
	headerSize   = 92
	entrySize    = 128
	entries      = 128
	tableSectors = entries * entrySize / sector
	maxName      = 36 // UTF-16 units
	bootCode     = 440
)

// Partition is a partition of a disk.
type Partition struct {
	Type       [16]byte // ESP, Linux, ...
	ID         [16]byte // of this partition alone
	Name       string   // up to 36 UTF-16 units
	Attributes uint64
	Content    *extents.List // nil: zeros
	Size       int64         // in bytes, a multiple of 512; 0: that of the content, rounded up to 1 MiB
}

// Options are what the disk has beside partitions.
type Options struct {
	ID       [16]byte
	Size     int64  // of the disk in bytes, a multiple of 512; 0: as small as it can be
	BootCode []byte // of the protective MBR, up to 440 bytes: what a BIOS starts
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
		if size > math.MaxInt64/2-at {
			return nil, step.Failf("partition %d (%q) ends beyond the largest possible disk: make it smaller", i+1, p.Name)
		}
		starts = append(starts, at)
		at = roundUp(at + size)
	}
	return append(starts, at), nil
}

// Build lays out a disk.
func Build(parts []Partition, opts Options) (*extents.List, error) {
	if len(parts) > entries {
		return nil, step.Failf("a disk has up to %d partitions, not %d: leave some out", entries, len(parts))
	}
	if len(opts.BootCode) > bootCode {
		return nil, step.Failf("the boot code of a disk has %d bytes and may have %d: give that of a boot loader for GPT disks, such as gptmbr.bin", len(opts.BootCode), bootCode)
	}
	starts, err := Start(parts)
	if err != nil {
		return nil, err
	}
	end := int64(Align) // of the last partition
	for i, p := range parts {
		size, _ := p.size(i)
		end = starts[i] + size
	}
	size := roundUp(end + (1+tableSectors)*sector)
	if opts.Size != 0 {
		size = opts.Size
	}
	if err := step.CheckDisk(size, end+(1+tableSectors)*sector, sector); err != nil {
		return nil, err
	}
	table, err := entryTable(parts, starts)
	if err != nil {
		return nil, err
	}
	l, last := &extents.List{}, size/sector-1
	l.Bytes(protectiveMBR(opts.BootCode, last))
	l.Bytes(header(opts.ID, table, 1, last, 2))
	l.Bytes(table)
	for i, p := range parts {
		if err := l.To(starts[i]); err != nil {
			return nil, err
		}
		if p.Content != nil {
			l.Append(p.Content)
		}
	}
	if err := l.To((last - tableSectors) * sector); err != nil {
		return nil, err
	}
	l.Bytes(table)
	l.Bytes(header(opts.ID, table, last, 1, last-tableSectors))
	return l, nil
}

// size is what partition number i takes.
func (p *Partition) size(i int) (int64, error) {
	var content int64
	if p.Content != nil {
		content = p.Content.Size()
	}
	switch {
	case p.Size == 0 && content == 0:
		return 0, step.Failf("partition %d (%q) has neither contents nor a size: give it one", i+1, p.Name)
	case p.Size == 0 && content > math.MaxInt64/2:
		return 0, step.Failf("partition %d (%q) ends beyond the largest possible disk: make it smaller", i+1, p.Name)
	case p.Size == 0:
		return roundUp(content), nil
	case p.Size < 0 || p.Size%sector != 0:
		return 0, step.Failf("partition %d (%q) cannot have %d bytes: choose a multiple of %d", i+1, p.Name, p.Size, sector)
	case content > p.Size:
		return 0, step.Failf("partition %d (%q) has %d bytes and its contents have %d: make it larger", i+1, p.Name, p.Size, content)
	}
	return p.Size, nil
}

func roundUp(n int64) int64 { return (n + Align - 1) &^ (Align - 1) }

// entryTable is the partition entry array (UEFI 5.3.3).
func entryTable(parts []Partition, starts []int64) ([]byte, error) {
	table, le := make([]byte, entries*entrySize), binary.LittleEndian
	seen := map[[16]byte]int{}
	for i, p := range parts {
		if p.Type == ([16]byte{}) || p.ID == ([16]byte{}) {
			return nil, step.Failf("partition %d (%q) has no type or no id: give it both", i+1, p.Name)
		}
		if other, ok := seen[p.ID]; ok {
			return nil, step.Failf("partitions %d and %d have the same id %s: give each its own", other+1, i+1, Text(p.ID))
		}
		seen[p.ID] = i
		units := utf16.Encode([]rune(p.Name))
		if len(units) > maxName || !utf8.ValidString(p.Name) {
			return nil, step.Failf("partition %d cannot have the name %q: choose up to %d characters", i+1, p.Name, maxName)
		}
		e := table[i*entrySize:]
		kind, id := mixed(p.Type), mixed(p.ID)
		copy(e, kind[:])
		copy(e[16:], id[:])
		size, err := p.size(i)
		if err != nil {
			return nil, err
		}
		le.PutUint64(e[32:], uint64(starts[i]/sector))
		le.PutUint64(e[40:], uint64((starts[i]+size)/sector-1))
		le.PutUint64(e[48:], p.Attributes)
		for j, unit := range units {
			le.PutUint16(e[56+2*j:], unit)
		}
	}
	return table, nil
}

// header is a GPT header (UEFI 5.3.2) for sector own, with the other one at alternate and its table at tableAt.
func header(id [16]byte, table []byte, own, alternate, tableAt int64) []byte {
	b, le := make([]byte, sector), binary.LittleEndian
	disk, last := mixed(id), max(own, alternate)
	copy(b, "EFI PART")
	le.PutUint32(b[8:], 0x00010000)
	le.PutUint32(b[12:], headerSize)
	le.PutUint64(b[24:], uint64(own))
	le.PutUint64(b[32:], uint64(alternate))
	le.PutUint64(b[40:], 2+tableSectors)
	le.PutUint64(b[48:], uint64(last-tableSectors-1))
	copy(b[56:], disk[:])
	le.PutUint64(b[72:], uint64(tableAt))
	le.PutUint32(b[80:], entries)
	le.PutUint32(b[84:], entrySize)
	le.PutUint32(b[88:], crc32.ChecksumIEEE(table))
	le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:headerSize]))
	return b
}

// protectiveMBR keeps tools that do not know GPT away from the disk (UEFI 5.2.3).
func protectiveMBR(code []byte, last int64) []byte {
	b, le := make([]byte, sector), binary.LittleEndian
	copy(b, code)
	e := b[446:]
	copy(e, []byte{0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff})
	le.PutUint32(e[8:], 1)
	le.PutUint32(e[12:], uint32(min(last, math.MaxUint32)))
	b[510], b[511] = 0x55, 0xaa
	return b
}
