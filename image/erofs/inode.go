package erofs

import (
	"archive/tar"
	"encoding/binary"
	"math"

	"github.com/kiln-farm/kiln/image/fstree"
)

// inode is a node with where it goes.
type inode struct {
	node   *fstree.Node
	parent *fstree.Node // of a directory; of the root, itself
	number uint64       // which slot of the image it starts in
	size   int64        // of a file, directory or link, in bytes
	block  uint32       // the first of its blocks
	xattrs int          // bytes of xattrs after the inode
	inline bool         // what does not fill a block follows the xattrs
}

// regular says that it is a file, whose blocks are elsewhere.
func (i *inode) regular() bool { return i.node.Type == tar.TypeReg }

// tail is how many bytes of it do not fill a block.
func (i *inode) tail() int { return int(i.size % blockSize) }

// blocks is how many blocks of its own it has.
func (i *inode) blocks() uint64 {
	if i.inline {
		return uint64(i.size / blockSize)
	}
	return uint64((i.size + blockSize - 1) / blockSize)
}

// inBlocks is how many of its bytes are in its blocks.
func (i *inode) inBlocks() int64 { return min(i.size, int64(i.blocks())*blockSize) }

// headSize is the size of the inode alone.
func (i *inode) headSize() int {
	n := i.node
	if n.UID > math.MaxUint16 || n.GID > math.MaxUint16 || n.Links > math.MaxUint16 || i.size > math.MaxUint32 || !n.ModTime.Equal(defaultTime) {
		return extendedSize
	}
	return compactSize
}

// types are the types of files in a mode (inode(7)).
var types = map[byte]uint32{
	tar.TypeReg: 0o100000, tar.TypeDir: 0o040000, tar.TypeSymlink: 0o120000,
	tar.TypeChar: 0o020000, tar.TypeBlock: 0o060000, tar.TypeFifo: 0o010000,
}

// encode is the inode without what follows it.
func (i *inode) encode() []byte {
	n, le := i.node, binary.LittleEndian
	b := make([]byte, i.headSize())
	format := uint16(flatPlain)
	if i.inline {
		format = flatInline
	}
	place := i.block
	if n.Type == tar.TypeChar || n.Type == tar.TypeBlock {
		place = n.Minor&0xff | n.Major<<8 | n.Minor&^0xff<<12 // new_encode_dev of include/linux/kdev_t.h
	}
	le.PutUint16(b[2:], xattrCount(i.xattrs))
	le.PutUint16(b[4:], uint16(types[n.Type]|n.Mode))
	// The inode's number for programs that know only 32 bits.
	le.PutUint32(b[20:], uint32(i.number))
	le.PutUint32(b[16:], place)
	if len(b) == compactSize {
		le.PutUint16(b[0:], format)
		le.PutUint16(b[6:], uint16(n.Links))
		le.PutUint32(b[8:], uint32(i.size))
		le.PutUint16(b[24:], uint16(n.UID))
		le.PutUint16(b[26:], uint16(n.GID))
		return b
	}
	le.PutUint16(b[0:], format|extendedFormat)
	le.PutUint64(b[8:], uint64(i.size))
	le.PutUint32(b[24:], n.UID)
	le.PutUint32(b[28:], n.GID)
	le.PutUint64(b[32:], uint64(n.ModTime.Unix()))
	le.PutUint32(b[40:], uint32(n.ModTime.Nanosecond()))
	le.PutUint32(b[44:], n.Links)
	return b
}
