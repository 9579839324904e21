package erofs

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/kiln-farm/kiln/image/part"
)

// Numbers of fs/erofs/erofs_fs.h.
const (
	magic       = 0xE0F5E1E2 // EROFS_SUPER_MAGIC_V1
	superOffset = 1024       // EROFS_SUPER_OFFSET
	blockLog    = 12
	blockSize   = 1 << blockLog
	slotSize    = 32 // EROFS_ISLOTBITS: inodes are at multiples of it, and an inode's number is which one

	compactSize  = 32 // struct erofs_inode_compact
	extendedSize = 64 // struct erofs_inode_extended

	extendedFormat = 1      // EROFS_INODE_LAYOUT_EXTENDED in i_format
	flatPlain      = 0 << 1 // EROFS_INODE_FLAT_PLAIN
	flatInline     = 2 << 1 // EROFS_INODE_FLAT_INLINE

	compatChecksum = 1 // EROFS_FEATURE_COMPAT_SB_CHKSUM
	compatTime     = 2 // EROFS_FEATURE_COMPAT_MTIME: inodes have times of modification

	maxBlocks = 1<<32 - 1
)

// defaultTime is the time of inodes that have none of their own.
var defaultTime = part.DefaultTime

// super is what differs between superblocks.
type super struct {
	root   uint64 // number of the root directory's inode, below 1<<16
	inodes uint64
	blocks uint32 // of the whole image
	uuid   [16]byte
}

// encode is the image's first block.
func (s *super) encode() []byte {
	block := make([]byte, blockSize)
	b, le := block[superOffset:], binary.LittleEndian
	le.PutUint32(b[0:], magic)
	le.PutUint32(b[8:], compatChecksum|compatTime)
	b[12] = blockLog
	le.PutUint16(b[14:], uint16(s.root))
	le.PutUint64(b[16:], s.inodes)
	le.PutUint64(b[24:], uint64(defaultTime.Unix()))
	le.PutUint32(b[36:], s.blocks)
	copy(b[48:], s.uuid[:])
	// Everything else is zero: inodes are counted from the image's start, and no feature is used that old kernels lack.
	// The checksum is that of the block from here on with 0 in its own place, and is not inverted at the end.
	le.PutUint32(b[4:], ^crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return block
}
