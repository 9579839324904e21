package erofs

import (
	"archive/tar"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/image/fstree"
)

const direntSize = 12 // struct erofs_dirent

// fileTypes by types of nodes (include/linux/fs_types.h).
var fileTypes = map[byte]byte{
	tar.TypeReg: 1, tar.TypeDir: 2, tar.TypeChar: 3, tar.TypeBlock: 4, tar.TypeFifo: 5, tar.TypeSymlink: 7,
}

// entries are a directory's, with itself and its parent, in the order of their names' bytes.
func entries(d, parent *fstree.Node) []fstree.Child {
	all := make([]fstree.Child, 0, len(d.Children)+2)
	all = append(append(all, d.Children...), fstree.Child{Name: ".", Node: d}, fstree.Child{Name: "..", Node: parent})
	slices.SortFunc(all, func(a, b fstree.Child) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// fitting is how many of the entries go into the next block, and how many bytes they take there.
func fitting(all []fstree.Child) (n, size int) {
	for n < len(all) && size+direntSize+len(all[n].Name) <= blockSize {
		size += direntSize + len(all[n].Name)
		n++
	}
	return n, size
}

// directorySize is the size of a directory: whole blocks, and what the last one has.
func directorySize(d *fstree.Node) int64 {
	all := entries(d, d)
	for size := int64(0); ; size += blockSize {
		n, last := fitting(all)
		if all = all[n:]; len(all) == 0 {
			return size + int64(last)
		}
	}
}

// directoryBlocks calls f for each block of a directory; only the last is not whole. The memory is used again.
func directoryBlocks(d, parent *fstree.Node, number func(*fstree.Node) uint64, f func([]byte) error) error {
	block := make([]byte, blockSize)
	for all := entries(d, parent); len(all) > 0; {
		n, size := fitting(all)
		clear(block)
		name := n * direntSize
		for i, e := range all[:n] {
			b := block[i*direntSize:]
			binary.LittleEndian.PutUint64(b, number(e.Node))
			binary.LittleEndian.PutUint16(b[8:], uint16(name))
			b[10] = fileTypes[e.Node.Type]
			name += copy(block[name:], e.Name)
		}
		if all = all[n:]; len(all) > 0 {
			size = blockSize
		}
		if err := f(block[:size]); err != nil {
			return err
		}
	}
	return nil
}
