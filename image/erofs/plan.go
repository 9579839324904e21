package erofs

import (
	"archive/tar"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/step"
)

// plan says where everything goes, before a byte is written.
type plan struct {
	inodes []inode
	index  map[*fstree.Node]int32 // into inodes
	slots  slots
	// metadata is how many blocks the superblock, inodes and directories take, with symbolic links that are too long for
	// their inode's block. The files' blocks follow.
	metadata, blocks uint64
	shared           map[run]uint32 // first blocks of files
	refused          func(xattr string)
}

// run is where in a blob a file's blocks are; several inodes may have the same.
type run struct {
	blob           cache.Digest
	offset, length int64
}

// newPlan plans an image of a tree; refused takes names of xattrs that it cannot hold.
func newPlan(root *fstree.Node, refused func(string)) (*plan, error) {
	p := &plan{index: map[*fstree.Node]int32{}, shared: map[run]uint32{}, refused: refused}
	p.slots.blocks = 1 // the superblock's
	p.add(root, root)
	p.below(root)
	p.metadata = uint64(p.slots.blocks)
	for i := range p.inodes {
		if n := &p.inodes[i]; !n.regular() {
			p.metadata = n.at(p.metadata)
		}
	}
	p.blocks = p.metadata
	for i := range p.inodes {
		if n := &p.inodes[i]; n.regular() {
			p.file(n)
		}
	}
	if p.blocks > maxBlocks {
		return nil, step.Failf("the image has %d blocks of %d bytes, but erofs takes %d; choose another format or leave out files",
			p.blocks, blockSize, uint32(maxBlocks))
	}
	return p, nil
}

// below adds what is below a directory: its children side by side, then what is in each.
func (p *plan) below(d *fstree.Node) {
	for _, c := range d.Children {
		p.add(c.Node, d)
	}
	for _, c := range d.Children {
		if len(c.Node.Children) > 0 {
			p.below(c.Node)
		}
	}
}

// add gives a node its place among the inodes, unless it has one under another name.
func (p *plan) add(n, parent *fstree.Node) {
	if _, known := p.index[n]; known {
		return
	}
	i := inode{node: n, parent: parent}
	switch n.Type {
	case tar.TypeReg:
		i.size = n.Body.Size
	case tar.TypeDir:
		i.size = directorySize(n)
	case tar.TypeSymlink:
		i.size = int64(len(n.Linkname))
	}
	if len(n.Xattrs) > 0 {
		encoded, refused := encodeXattrs(n.Xattrs)
		i.xattrs = len(encoded)
		for _, name := range refused {
			p.refused(name)
		}
	}
	room := i.headSize() + i.xattrs
	if tail := i.tail(); tail > 0 && room+tail <= blockSize {
		i.inline = true
		room += tail
	}
	i.number = p.slots.take(room)
	p.index[n] = int32(len(p.inodes))
	p.inodes = append(p.inodes, i)
}

// at gives an inode's blocks their place and returns that of the next.
func (i *inode) at(block uint64) uint64 {
	if i.blocks() > 0 {
		i.block = uint32(min(block, maxBlocks))
	}
	return block + i.blocks()
}

// file gives a file's blocks their place: that of another file's which are the same.
func (p *plan) file(i *inode) {
	if i.blocks() == 0 {
		return
	}
	b := i.node.Body
	if b.Inline != nil {
		p.blocks = i.at(p.blocks)
		return
	}
	r := run{b.Blob, b.Offset, i.inBlocks()}
	if block, known := p.shared[r]; known {
		i.block = block
		return
	}
	p.blocks = i.at(p.blocks)
	p.shared[r] = i.block
}

// number is that of a node's inode.
func (p *plan) number(n *fstree.Node) uint64 { return p.inodes[p.index[n]].number }
