package squashfs

import (
	"archive/tar"
	"encoding/binary"
	"math"

	"github.com/kiln-farm/kiln/image/fstree"
)

// inodeTypes by types of nodes.
var inodeTypes = map[byte]uint16{
	tar.TypeDir: typeDir, tar.TypeReg: typeReg, tar.TypeSymlink: typeSymlink,
	tar.TypeBlock: typeBlock, tar.TypeChar: typeChar, tar.TypeFifo: typeFifo,
}

// inode writes the inode of anything but a directory and returns where it is.
func (a *assembler) inode(n *fstree.Node, number uint32) (reference, error) {
	xattr := a.xattr(n)
	if n.Type == tar.TypeReg {
		return a.regular(n, number, xattr)
	}
	le := binary.LittleEndian
	b := a.head(inodeTypes[n.Type], xattr != noXattr, n, number)
	switch n.Type {
	case tar.TypeSymlink:
		b = le.AppendUint32(b, n.Links)
		b = append(le.AppendUint32(b, uint32(len(n.Linkname))), n.Linkname...)
	case tar.TypeBlock, tar.TypeChar:
		b = le.AppendUint32(b, n.Links)
		// new_encode_dev of include/linux/kdev_t.h
		b = le.AppendUint32(b, n.Minor&0xff|n.Major<<8|n.Minor&^0xff<<12)
	default:
		b = le.AppendUint32(b, n.Links)
	}
	if xattr != noXattr {
		b = le.AppendUint32(b, xattr)
	}
	return a.write(b, number), nil
}

// regular writes the inode of a file: struct squashfs_reg_inode, or squashfs_lreg_inode where that is not enough.
func (a *assembler) regular(n *fstree.Node, number, xattr uint32) (reference, error) {
	c, err := a.contents(n)
	if err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	long := xattr != noXattr || n.Links > 1 || c.holes > 0 || n.Body.Size > math.MaxUint32 || c.start > math.MaxUint32
	b := a.head(typeReg, long, n, number)
	if long {
		b = le.AppendUint64(b, uint64(c.start))
		b = le.AppendUint64(b, uint64(n.Body.Size))
		b = le.AppendUint64(b, uint64(c.holes))
		b = le.AppendUint32(b, n.Links)
		b = le.AppendUint32(b, c.fragment)
		b = le.AppendUint32(b, c.offset)
		b = le.AppendUint32(b, xattr)
	} else {
		b = le.AppendUint32(b, uint32(c.start))
		b = le.AppendUint32(b, c.fragment)
		b = le.AppendUint32(b, c.offset)
		b = le.AppendUint32(b, uint32(n.Body.Size))
	}
	for _, size := range c.blocks {
		b = le.AppendUint32(b, size)
	}
	return a.write(b, number), nil
}

// directoryInode writes a directory's inode: struct squashfs_dir_inode, or squashfs_ldir_inode where that is not enough.
func (a *assembler) directoryInode(n *fstree.Node, number, parent uint32, l listing) reference {
	const unlisted = 3 // "." and "..", which are not in the listing but in its size
	xattr := a.xattr(n)
	size := l.size + unlisted
	le := binary.LittleEndian
	long := xattr != noXattr || size > math.MaxUint16 || len(l.index) > 0
	b := a.head(typeDir, long, n, number)
	if !long {
		b = le.AppendUint32(b, l.at.block())
		b = le.AppendUint32(b, n.Links)
		b = le.AppendUint16(b, uint16(size))
		b = le.AppendUint16(b, l.at.offset())
		return a.write(le.AppendUint32(b, parent), number)
	}
	b = le.AppendUint32(b, n.Links)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, l.at.block())
	b = le.AppendUint32(b, parent)
	b = le.AppendUint16(b, uint16(len(l.index)))
	b = le.AppendUint16(b, l.at.offset())
	b = le.AppendUint32(b, xattr)
	for _, i := range l.index { // struct squashfs_dir_index
		b = le.AppendUint32(b, uint32(i.offset))
		b = le.AppendUint32(b, i.block)
		b = append(le.AppendUint32(b, uint32(len(i.name)-1)), i.name...)
	}
	return a.write(b, number)
}

// head starts an inode: struct squashfs_base_inode.
func (a *assembler) head(kind uint16, long bool, n *fstree.Node, number uint32) []byte {
	if long {
		kind += extended
	}
	le := binary.LittleEndian
	b := le.AppendUint16(a.buf[:0], kind)
	b = le.AppendUint16(b, uint16(n.Mode))
	b = le.AppendUint16(b, a.owner(n.UID))
	b = le.AppendUint16(b, a.owner(n.GID))
	b = le.AppendUint32(b, a.time(n))
	return le.AppendUint32(b, number)
}

// write writes an inode and notes where it is.
func (a *assembler) write(b []byte, number uint32) reference {
	at := a.inodes.here()
	a.inodes.write(b)
	a.buf = b
	binary.LittleEndian.PutUint64(a.lookup[8*(number-1):], uint64(at))
	return at
}

// owner is the place of a user or group in the table of ids.
func (a *assembler) owner(id uint32) uint16 {
	at, ok := a.owners[id]
	if !ok {
		at = len(a.owners)
		a.owners[id] = at
		a.ids = binary.LittleEndian.AppendUint32(a.ids, id)
	}
	return uint16(at) // Assemble refuses too many
}

// time is in seconds since 1970, unsigned.
func (a *assembler) time(n *fstree.Node) uint32 {
	s := n.ModTime.Unix()
	if in := min(max(s, 0), math.MaxUint32); in != s {
		a.warn("time", "some file's time is not between 1970 and 2106 and is moved there")
		s = in
	}
	return uint32(s)
}

// xattr is the number of a node's set of extended attributes; noXattr for none.
func (a *assembler) xattr(n *fstree.Node) uint32 {
	if len(n.Xattrs) == 0 {
		return noXattr
	}
	id, refused := a.xattrs.id(n.Xattrs)
	for _, name := range refused {
		a.warn("xattr "+name, "squashfs cannot hold the extended attribute "+name+"; it is left out")
	}
	return id
}
