// Package qcow2 wraps disks for QEMU, OpenStack and what else takes qcow2.
//
// Such a file has tables that say where each cluster of the disk is, so that zeros take no room. Wrap writes the tables
// inline and takes all other clusters from the disk in their order, as ranges of the blobs that they are in already. They are
// not compressed: contents mostly are, and the file is then sent as it is.
//
// Source: docs/interop/qcow2.txt of QEMU, version 3 of the format.
package qcow2

import (
	"encoding/binary"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/qcow2/sparse"
	"github.com/kiln-farm/kiln/image/step"
)

const (
	sector      = 512
	clusterBits = 16
	cluster     = 1 << clusterBits
	headerSize  = 104
	perL2       = cluster / 8 // entries of a table of the second level: 512 MiB
	perRefcount = cluster / 2 // entries of a block of reference counts of 16 bits
	copied      = 1 << 63     // the cluster's reference count is one: it is written in place

	// maxDisk keeps the first table small: 16 TiB, more than any cloud takes.
	maxDisk = 16 << 40
)

// Wrap makes a qcow2 file of a disk, which is filled up to whole sectors of 512 bytes.
func Wrap(disk *extents.List) (*extents.List, error) {
	if disk.Size() > maxDisk {
		return nil, step.Failf("a disk of %d bytes is too large for a qcow2 file of ours, which takes up to 16 TiB: make it smaller", disk.Size())
	}
	p := newPlan(disk)
	l := extents.Bytes(p.header())
	l.Align(cluster)
	p.refcounts(l)
	l.Bytes(p.l1Table())
	l.Align(cluster)
	p.l2Tables(l)
	p.data(l, disk)
	return l, nil
}

// plan is where everything lies in the file, in clusters.
type plan struct {
	size   int64 // of the disk in bytes
	ranges []sparse.Range
	l2     []int64 // which of the tables of the second level there are

	tableAt, tableLen int64 // of reference count blocks
	blockAt, blockLen int64
	l1At, l1Len       int64
	l2At              int64
	dataAt            int64
	total             int64
}

func newPlan(disk *extents.List) *plan {
	p := &plan{size: (disk.Size() + sector - 1) / sector * sector, ranges: sparse.Ranges(disk, cluster)}
	var data int64
	for _, r := range p.ranges {
		data += r.Count
		for t := r.First / perL2; t <= (r.First+r.Count-1)/perL2; t++ {
			if n := len(p.l2); n == 0 || p.l2[n-1] != t {
				p.l2 = append(p.l2, t)
			}
		}
	}
	p.l1Len = ceil(p.l1Entries()*8, cluster)
	others := 1 + p.l1Len + int64(len(p.l2)) + data
	// Reference counts count their own clusters, too.
	for p.blockLen, p.tableLen = 1, 1; ; {
		p.total = others + p.blockLen + p.tableLen
		blocks := ceil(p.total, perRefcount)
		if table := ceil(blocks*8, cluster); blocks > p.blockLen || table > p.tableLen {
			p.blockLen, p.tableLen = blocks, table
			continue
		}
		break
	}
	p.tableAt = 1
	p.blockAt = p.tableAt + p.tableLen
	p.l1At = p.blockAt + p.blockLen
	p.l2At = p.l1At + p.l1Len
	p.dataAt = p.l2At + int64(len(p.l2))
	return p
}

func (p *plan) l1Entries() int64 { return max(ceil(p.size, cluster*perL2), 1) }

func ceil(n, of int64) int64 { return (n + of - 1) / of }

func (p *plan) header() []byte {
	b, be := make([]byte, headerSize, headerSize+8), binary.BigEndian
	copy(b, "QFI\xfb")
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], clusterBits)
	be.PutUint64(b[24:], uint64(p.size))
	be.PutUint32(b[36:], uint32(p.l1Entries()))
	be.PutUint64(b[40:], uint64(p.l1At)<<clusterBits)
	be.PutUint64(b[48:], uint64(p.tableAt)<<clusterBits)
	be.PutUint32(b[56:], uint32(p.tableLen))
	be.PutUint32(b[96:], 4) // reference counts have 1<<4 bits
	be.PutUint32(b[100:], headerSize)
	return b[:headerSize+8] // an empty extension ends the extensions
}

// refcounts writes the table of blocks and the blocks: every cluster of the file has one reference.
func (p *plan) refcounts(l *extents.List) {
	table := make([]byte, p.blockLen*8)
	for i := range p.blockLen {
		binary.BigEndian.PutUint64(table[i*8:], uint64(p.blockAt+i)<<clusterBits)
	}
	l.Bytes(table)
	l.Align(cluster)
	counts := make([]byte, p.total*2)
	for i := range p.total {
		counts[i*2+1] = 1
	}
	l.Bytes(counts)
	l.Align(cluster)
}

func (p *plan) l1Table() []byte {
	b := make([]byte, p.l1Entries()*8)
	for i, t := range p.l2 {
		binary.BigEndian.PutUint64(b[t*8:], uint64(p.l2At+int64(i))<<clusterBits|copied)
	}
	return b
}

func (p *plan) l2Tables(l *extents.List) {
	if len(p.l2) == 0 {
		return
	}
	b, i, at := make([]byte, cluster), 0, p.dataAt
	for _, r := range p.ranges {
		for c := r.First; c < r.First+r.Count; c++ {
			if c/perL2 != p.l2[i] {
				l.Bytes(b)
				b, i = make([]byte, cluster), i+1
			}
			binary.BigEndian.PutUint64(b[c%perL2*8:], uint64(at)<<clusterBits|copied)
			at++
		}
	}
	l.Bytes(b)
}

func (p *plan) data(l *extents.List, disk *extents.List) {
	c, at := sparse.NewCursor(disk), int64(0)
	for _, r := range p.ranges {
		c.Skip((r.First - at) * cluster)
		c.TakeTo(l, r.Count*cluster)
		l.Align(cluster)
		at = r.First + r.Count
	}
}
