package squashfs

import (
	"encoding/binary"
	"math"

	"github.com/kiln-farm/kiln/image/part"
)

// Numbers of fs/squashfs/squashfs_fs.h.
const (
	magic         = 0x73717368 // SQUASHFS_MAGIC, "hsqs"
	blockLog      = 17
	blockSize     = 1 << blockLog // of data, the default of mksquashfs
	metadataSize  = 8 << 10       // SQUASHFS_METADATA_SIZE
	superSize     = 96            // struct squashfs_super_block
	devicePadding = 4 << 10       // an image's size is a multiple of it, as with mksquashfs

	uncompressedBlock    = 1 << 24 // in the size of a data block
	uncompressedMetadata = 1 << 15 // in the size of a metadata block

	noFragment = math.MaxUint32 // SQUASHFS_INVALID_FRAG
	noXattr    = math.MaxUint32 // SQUASHFS_INVALID_XATTR
	noTable    = math.MaxUint64 // SQUASHFS_INVALID_BLK

	maxIDs = math.MaxUint16

	flagDuplicates = 1 << 6 // files with the same contents are stored once
	flagExport     = 1 << 7 // there is a table of inodes by number, for NFS
)

// Types of inodes; those of the extended forms are seven more.
const (
	typeDir = iota + 1
	typeReg
	typeSymlink
	typeBlock
	typeChar
	typeFifo

	extended = 7
)

// super is the superblock. Positions are counted from the start of the image.
type super struct {
	inodes, fragments          uint32
	compression                Compression
	ids                        uint16
	root                       reference
	size                       uint64
	idTable, xattrTable        uint64
	inodeTable, dirTable       uint64
	fragmentTable, lookupTable uint64
}

func (s *super) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(make([]byte, 0, superSize), magic)
	b = le.AppendUint32(b, s.inodes)
	b = le.AppendUint32(b, uint32(part.DefaultTime.Unix()))
	b = le.AppendUint32(b, blockSize)
	b = le.AppendUint32(b, s.fragments)
	b = le.AppendUint16(b, s.compression.number())
	b = le.AppendUint16(b, blockLog)
	b = le.AppendUint16(b, flagDuplicates|flagExport)
	b = le.AppendUint16(b, s.ids)
	b = le.AppendUint16(b, 4) // version 4.0
	b = le.AppendUint16(b, 0)
	for _, v := range []uint64{uint64(s.root), s.size, s.idTable, s.xattrTable, s.inodeTable, s.dirTable, s.fragmentTable, s.lookupTable} {
		b = le.AppendUint64(b, v)
	}
	return b
}

// reference is a place in metadata: the position of its block in the table (compressed) and, in the lower 16 bits, the
// offset in that block (uncompressed).
type reference uint64

func refer(block int64, offset int) reference { return reference(block<<16 | int64(offset)) }

func (r reference) block() uint32  { return uint32(r >> 16) }
func (r reference) offset() uint16 { return uint16(r) }
