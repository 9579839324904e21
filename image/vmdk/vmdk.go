// Package vmdk wraps disks for VMware: ESXi and vSphere import them from an OVF or OVA, and so does VirtualBox.
//
// They take stream-optimized disks, in which every grain of 64 KiB is a zlib stream. Contents are mostly compressed already, so
// Stream stores them: a grain is a few bytes around a range of the blob that it is in, and grains that are known to be zeros are
// left out. Contents are read once, for the checksums of the streams.
//
// Source: VMware Virtual Disk Format 5.0 (December 2011), "Stream-Optimized Compressed Sparse Extents"; RFC 1950 and
// RFC 1951 for the streams.
package vmdk

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"io"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/qcow2/sparse"
	"github.com/kiln-farm/kiln/image/step"
)

const (
	sector      = 512
	grain       = 128 * sector
	perTable    = 512              // grains that a grain table tells
	tableSize   = perTable * 4     // bytes
	region      = grain * perTable // of the disk, in bytes: 32 MiB
	overhead    = 128              // sectors before the first grain
	descriptors = 20               // sectors for the descriptor, which follows the header
	maxStored   = 1<<16 - 1        // bytes of a stored block: one less than a grain
	maxDisk     = 2000 << 30       // sectors of the file have numbers of 32 bits, and it is larger than the disk

	// atEnd is where the header says that the grain directory is: the footer tells.
	atEnd = ^uint64(0)
)

// Kinds of markers, which precede everything but grains.
const (
	markEnd       = 0
	markTable     = 1
	markDirectory = 2
	markFooter    = 3
)

// Options are what the descriptor says.
type Options struct {
	Name string // of the file; "": disk.vmdk
	CID  uint32 // an id of the contents; 0: 0xfffffffe, as of a disk that was not written to
}

// Stream makes a stream-optimized VMDK file of a disk, which is filled up to whole grains of 64 KiB. data are the disk's bytes, as
// artifact.Open reads them.
func Stream(ctx context.Context, disk *extents.List, data io.ReaderAt, opts Options) (*extents.List, error) {
	if disk.Size() > maxDisk {
		return nil, step.Failf("a disk of %d bytes is too large for a VMDK file, which takes up to 2000 GiB: make it smaller", disk.Size())
	}
	text, err := descriptor(disk, opts)
	if err != nil {
		return nil, err
	}
	w := &writer{ctx: ctx, disk: disk, data: data, out: &extents.List{}, cursor: sparse.NewCursor(disk), buf: make([]byte, grain)}
	w.out.Bytes(header(disk, atEnd))
	w.out.Bytes([]byte(text))
	if err := w.out.To(overhead * sector); err != nil {
		return nil, err
	}
	if err := w.grains(); err != nil {
		return nil, fmt.Errorf("make a VMDK file of a disk of %d bytes: %w", disk.Size(), err)
	}
	w.end()
	return w.out, nil
}

// writer goes through a disk once.
type writer struct {
	ctx    context.Context
	disk   *extents.List
	data   io.ReaderAt
	out    *extents.List
	cursor *sparse.Cursor
	at     int64  // of the cursor, in bytes
	buf    []byte // a grain

	directory []byte // where the grain tables are
	table     []byte // where the grains of the current region are; nil: none yet
	current   int64  // region
}

// grains writes all grains that hold something, and after those of a region its table.
func (w *writer) grains() error {
	w.directory = make([]byte, (capacity(w.disk)*sector+region-1)/region*4)
	for _, r := range sparse.Ranges(w.disk, grain) {
		for g := r.First; g < r.First+r.Count; g++ {
			if err := w.ctx.Err(); err != nil {
				return err
			}
			if w.current != g/perTable {
				w.endRegion()
				w.current = g / perTable
			}
			if w.table == nil {
				w.table = make([]byte, tableSize)
			}
			binary.LittleEndian.PutUint32(w.table[g%perTable*4:], uint32(w.out.Size()/sector))
			if err := w.grain(g); err != nil {
				return err
			}
		}
	}
	w.endRegion()
	return nil
}

// grain writes one grain: its marker and a zlib stream of two stored blocks. The second has the one byte that the first cannot
// take; it is written inline.
func (w *writer) grain(g int64) error {
	w.cursor.Skip(g*grain - w.at)
	n := min(grain, w.disk.Size()-g*grain)
	clear(w.buf)
	if got, err := w.data.ReadAt(w.buf[:n], g*grain); int64(got) < n {
		return fmt.Errorf("read at byte %d: %w", g*grain, err)
	}
	const stream = 2 + 5 + maxStored + 5 + 1 + 4
	le := binary.LittleEndian
	head := make([]byte, 0, 32)
	head = le.AppendUint64(head, uint64(g*grain/sector))
	head = le.AppendUint32(head, stream)
	head = append(head, 0x78, 0x01) // deflate with a window of 32 KiB, the fastest level
	head = append(head, 0)          // not the last block; stored
	head = le.AppendUint16(head, maxStored)
	head = le.AppendUint16(head, 0)
	w.out.Bytes(head)
	w.out.Zeros(maxStored - w.cursor.TakeTo(w.out, maxStored))
	w.cursor.Skip(1)
	w.at = (g + 1) * grain

	tail := make([]byte, 0, 16)
	tail = append(tail, 1, 1, 0, 0xfe, 0xff, w.buf[maxStored]) // the last block, of one byte
	tail = binary.BigEndian.AppendUint32(tail, adler32.Checksum(w.buf))
	w.out.Bytes(tail)
	w.out.Align(sector)
	return nil
}

// endRegion writes the table of the region's grains, if there are any.
func (w *writer) endRegion() {
	if w.table == nil {
		return
	}
	w.mark(markTable, tableSize/sector)
	binary.LittleEndian.PutUint32(w.directory[w.current*4:], uint32(w.out.Size()/sector))
	w.out.Bytes(w.table)
	w.table = nil
}

// end writes the grain directory and the footer, which is the header with its place.
func (w *writer) end() {
	w.mark(markDirectory, (int64(len(w.directory))+sector-1)/sector)
	at := uint64(w.out.Size() / sector)
	w.out.Bytes(w.directory)
	w.out.Align(sector)
	w.mark(markFooter, 1)
	w.out.Bytes(header(w.disk, at))
	w.mark(markEnd, 0)
}

// mark writes a marker for so many sectors after it.
func (w *writer) mark(kind uint32, sectors int64) {
	b := make([]byte, sector)
	binary.LittleEndian.PutUint64(b, uint64(sectors))
	binary.LittleEndian.PutUint32(b[12:], kind)
	w.out.Bytes(b)
}
