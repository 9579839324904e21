package squashfs

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/part"
)

// The table of a compressed part says where its files are in the blob of blocks: the magic, the compression's number,
// then records, each a letter and varints. 'F' is a file: its entry number (as the difference to the file before), the
// 32 bytes of its key, the position of its first block, how many blocks, their sizes as the inode has them, and where it
// has none its fragment's number and the offset in it. 'B' is a fragment block: position and size, in their order. 'Z'
// ends the table.
const (
	tableMagic     = "kiln squashfs part 1\n"
	recordFile     = 'F'
	recordFragment = 'B'
	recordEnd      = 'Z'

	// maxBlocks bounds what a table can make its reader allocate: a file of 128 TiB.
	maxBlocks = 1 << 30
)

var errTable = errors.New("not a table of a compressed part")

// contentKey is equal for files with equal contents.
type contentKey [32]byte

// file is where a file's contents are.
type file struct {
	entry    int32
	key      contentKey
	start    int64    // of its first block
	blocks   []uint32 // sizes; 0 is a block of zeros that is not stored
	fragment uint32   // where it has no blocks: the number of its fragment block
	offset   uint32   // in the fragment block, uncompressed

	// Of Assemble:
	used bool
	same *file // the one with equal contents that is in the image; nil for itself
	at   int64 // where its first block is in the image
}

// length is how many bytes its blocks take.
func (f *file) length() (n int64) {
	for _, size := range f.blocks {
		n += stored(size)
	}
	return n
}

// fragment is a fragment block.
type fragment struct {
	start int64
	size  uint32

	// Of Assemble:
	used   bool
	number uint32 // in the image
}

// stored is how many bytes a block of that size takes.
func stored(size uint32) int64 { return int64(size &^ uncompressedBlock) }

// tableWriter writes a table. Errors show in close.
type tableWriter struct {
	w    *bufio.Writer
	last int32
	buf  []byte
}

func newTableWriter(w io.Writer, c Compression) *tableWriter {
	t := &tableWriter{w: bufio.NewWriterSize(w, 64<<10), last: -1}
	t.w.WriteString(tableMagic)
	t.w.WriteByte(byte(c.number()))
	return t
}

func (t *tableWriter) file(f *file) {
	b := append(t.buf[:0], recordFile)
	b = binary.AppendUvarint(b, uint64(f.entry-t.last))
	b = append(b, f.key[:]...)
	b = binary.AppendUvarint(b, uint64(f.start))
	b = binary.AppendUvarint(b, uint64(len(f.blocks)))
	for _, size := range f.blocks {
		b = binary.AppendUvarint(b, uint64(size))
	}
	if len(f.blocks) == 0 {
		b = binary.AppendUvarint(b, uint64(f.fragment))
		b = binary.AppendUvarint(b, uint64(f.offset))
	}
	t.last, t.buf = f.entry, b
	t.w.Write(b)
}

func (t *tableWriter) fragment(f fragment) {
	b := binary.AppendUvarint(append(t.buf[:0], recordFragment), uint64(f.start))
	t.buf = binary.AppendUvarint(b, uint64(f.size))
	t.w.Write(t.buf)
}

func (t *tableWriter) close() error {
	t.w.WriteByte(recordEnd)
	return t.w.Flush()
}

// table is what a table says.
type table struct {
	files     []file // by entry
	fragments []fragment
}

// readTable reads the table of a part that was compressed with c.
func readTable(ctx context.Context, blobs cache.Blobs, d cache.Digest, c Compression) (*table, error) {
	f, err := part.Open(ctx, blobs, d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := decodeTable(bufio.NewReaderSize(f.Section(0, f.Size), 64<<10), c)
	if err != nil {
		return nil, fmt.Errorf("blob %s is %w", d, err)
	}
	return t, nil
}

func decodeTable(r *bufio.Reader, c Compression) (*table, error) {
	head := make([]byte, len(tableMagic)+1)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:len(tableMagic)]) != tableMagic {
		return nil, fmt.Errorf("%w: it starts with other bytes", errTable)
	}
	if head[len(tableMagic)] != byte(c.number()) {
		return nil, fmt.Errorf("%w: it was compressed otherwise than with %s", errTable, c)
	}
	d := tableDecoder{r: r, t: &table{}, last: -1}
	for {
		kind, err := r.ReadByte()
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: it ends early", errTable)
		case kind == recordFile:
			d.file()
		case kind == recordFragment:
			d.t.fragments = append(d.t.fragments, fragment{start: int64(d.number(1 << 62)), size: uint32(d.number(blockSize | uncompressedBlock))})
		case kind == recordEnd:
			return d.t, d.check()
		default:
			return nil, fmt.Errorf("%w: it has a record %q", errTable, kind)
		}
		if d.err != nil {
			return nil, d.err
		}
	}
}

// tableDecoder keeps the first error.
type tableDecoder struct {
	r    *bufio.Reader
	t    *table
	last int32
	err  error
}

func (d *tableDecoder) number(most uint64) uint64 {
	if d.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(d.r)
	if err != nil || v > most {
		d.err = fmt.Errorf("%w: it has a number out of range", errTable)
		return 0
	}
	return v
}

func (d *tableDecoder) file() {
	f := file{entry: d.last + int32(d.number(1<<31-2-uint64(max(d.last, 0))))}
	if f.entry <= d.last && d.err == nil {
		d.err = fmt.Errorf("%w: its files are out of order", errTable)
	}
	if _, err := io.ReadFull(d.r, f.key[:]); err != nil && d.err == nil {
		d.err = fmt.Errorf("%w: it ends early", errTable)
	}
	f.start = int64(d.number(1 << 62))
	for n := d.number(maxBlocks); n > 0 && d.err == nil; n-- {
		f.blocks = append(f.blocks, uint32(d.number(blockSize|uncompressedBlock)))
	}
	if len(f.blocks) == 0 {
		f.fragment, f.offset = uint32(d.number(1<<32-2)), uint32(d.number(blockSize-1))
	}
	d.last = f.entry
	d.t.files = append(d.t.files, f)
}

// check finds files in fragments that are not there, and places that are out of order.
func (d *tableDecoder) check() error {
	at := int64(0)
	for _, f := range d.t.fragments {
		if f.start < at {
			return fmt.Errorf("%w: its fragments are out of order", errTable)
		}
		at = f.start + stored(f.size)
	}
	at = 0
	for _, f := range d.t.files {
		switch {
		case len(f.blocks) == 0 && int(f.fragment) >= len(d.t.fragments):
			return fmt.Errorf("%w: it has a file in a fragment that is not there", errTable)
		case len(f.blocks) > 0 && f.start < at:
			return fmt.Errorf("%w: its blocks are out of order", errTable)
		case len(f.blocks) > 0:
			at = f.start + f.length()
		}
	}
	return nil
}
