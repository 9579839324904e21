// Package vhd wraps disks for Azure and Hyper-V.
//
// Azure takes fixed VHDs alone: the disk as it is with a footer of 512 bytes behind it. A dynamic VHD leaves blocks of zeros out and is
// what Hyper-V and VirtualBox take. Both are the disk's own runs with tables around them.
//
// Disks are filled up to whole MiB, as Azure demands. The footer says who made the disk, because readers decide by that
// whether its size is the one in bytes or that of cylinders, heads and sectors, which is smaller: as made by Hyper-V, it is the
// one in bytes, for QEMU, too.
//
// Source: Microsoft Virtual Hard Disk Image Format Specification, version 1.0 (October 2006). It reads no clock: disks
// are of 2017-04-18 16:30:00 UTC, and the id is the caller's.
package vhd

import (
	"encoding/binary"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/qcow2/sparse"
	"github.com/kiln-farm/kiln/image/step"
)

const (
	mib        = 1 << 20
	sector     = 512
	footerSize = 512
	headerSize = 1024
	block      = 2 * mib
	bitmapSize = block / sector / 8 // one bit for each sector of a block: a sector of them
	absent     = 0xff               // bytes of a block that is not there
	timestamp  = 545848200          // 2017-04-18 16:30:00 UTC, in seconds since 2000-01-01
	none       = ^uint64(0)
	// maxDisk is what every reader of the format takes.
	maxDisk = 2040 << 30

	typeFixed   = 2
	typeDynamic = 3
)

// Fixed is the disk with a footer. id is the UUID of this disk.
func Fixed(disk *extents.List, id [16]byte) (*extents.List, error) {
	size, err := diskSize(disk)
	if err != nil {
		return nil, err
	}
	l := &extents.List{}
	l.Append(disk)
	if err := l.To(size); err != nil {
		return nil, err
	}
	l.Bytes(footer(size, typeFixed, none, id))
	return l, nil
}

// Dynamic is the disk without those blocks of 2 MiB that are known to be zeros. id is the UUID of this disk.
func Dynamic(disk *extents.List, id [16]byte) (*extents.List, error) {
	size, err := diskSize(disk)
	if err != nil {
		return nil, err
	}
	ranges := sparse.Ranges(disk, block)
	entries := (size + block - 1) / block
	table := make([]byte, (entries*4+sector-1)/sector*sector)
	for i := range table {
		table[i] = absent
	}
	at := (footerSize + headerSize + int64(len(table))) / sector
	for _, r := range ranges {
		for i := range r.Count {
			binary.BigEndian.PutUint32(table[(r.First+i)*4:], uint32(at))
			at += (bitmapSize + block) / sector
		}
	}
	foot := footer(size, typeDynamic, footerSize, id)
	l := extents.Bytes(foot) // at the start, too, should the end get lost
	l.Bytes(header(entries))
	l.Bytes(table)

	bitmap := make([]byte, bitmapSize)
	for i := range bitmap {
		bitmap[i] = 0xff // all sectors of the block are there
	}
	c, next := sparse.NewCursor(disk), int64(0)
	for _, r := range ranges {
		c.Skip((r.First - next) * block)
		for range r.Count {
			l.Bytes(bitmap)
			l.Zeros(block - c.TakeTo(l, block))
		}
		next = r.First + r.Count
	}
	l.Bytes(foot)
	return l, nil
}

// diskSize is the disk's size in whole MiB.
func diskSize(disk *extents.List) (int64, error) {
	if disk.Size() > maxDisk {
		return 0, step.Failf("a disk of %d bytes is too large for a VHD, which has up to 2040 GiB: make it smaller", disk.Size())
	}
	return max((disk.Size()+mib-1)/mib, 1) * mib, nil
}

// footer is the "Hard Disk Footer Format".
func footer(size int64, kind uint32, dataOffset uint64, id [16]byte) []byte {
	b, be := make([]byte, footerSize), binary.BigEndian
	copy(b, "conectix")
	be.PutUint32(b[8:], 2)           // features: this bit is always set
	be.PutUint32(b[12:], 0x00010000) // version of the format
	be.PutUint64(b[16:], dataOffset)
	be.PutUint32(b[24:], timestamp)
	copy(b[28:], "win ")             // the size in bytes counts
	be.PutUint32(b[32:], 0x000a0000) // version of who made it
	copy(b[36:], "Wi2k")             // the host's system
	be.PutUint64(b[40:], uint64(size))
	be.PutUint64(b[48:], uint64(size))
	geometry := chs(size / sector)
	copy(b[56:], geometry[:])
	be.PutUint32(b[60:], kind)
	copy(b[68:], id[:])
	be.PutUint32(b[64:], checksum(b))
	return b
}

// header is the "Dynamic Disk Header Format". The table of blocks follows it.
func header(entries int64) []byte {
	b, be := make([]byte, headerSize), binary.BigEndian
	copy(b, "cxsparse")
	be.PutUint64(b[8:], none)
	be.PutUint64(b[16:], footerSize+headerSize)
	be.PutUint32(b[24:], 0x00010000)
	be.PutUint32(b[28:], uint32(entries))
	be.PutUint32(b[32:], block)
	be.PutUint32(b[36:], checksum(b))
	return b
}

// checksum is the complement of the sum of all bytes, with those of the checksum zero.
func checksum(b []byte) uint32 {
	var sum uint32
	for _, c := range b {
		sum += uint32(c)
	}
	return ^sum
}

// chs are cylinders, heads and sectors per track of a disk ("CHS Calculation" in the appendix). They say less than the
// disk has where no numbers fit.
func chs(sectors int64) [4]byte {
	const most = 65535 * 16 * 255
	sectors = min(sectors, most)
	var perTrack, heads, tracks int64
	if sectors >= 65535*16*63 {
		perTrack, heads = 255, 16
		tracks = sectors / perTrack
	} else {
		perTrack = 17
		tracks = sectors / perTrack
		heads = max((tracks+1023)/1024, 4)
		for _, next := range []int64{31, 63} {
			if tracks >= heads*1024 || heads > 16 {
				perTrack, heads = next, 16
				tracks = sectors / perTrack
			}
		}
	}
	cylinders := tracks / heads
	return [4]byte{byte(cylinders >> 8), byte(cylinders), byte(heads), byte(perTrack)}
}
