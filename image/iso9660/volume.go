package iso9660

import (
	"archive/tar"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/step"
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

// maxDirs is how many directories the path table can tell apart: it has 16 bits for a parent's number (ECMA-119 §9.4.4).
const maxDirs = 1<<16 - 1

// kind is which of the two hierarchies a volume is.
type kind int

const (
	rockRidge kind = iota // of the primary volume descriptor
	joliet                // of the supplementary one
)

// volume is a hierarchy of directories. Both of an ISO share the files' contents.
type volume struct {
	kind   kind
	dirs   []*directory // in the order of the path table: by level, parent and identifier (ECMA-119 §6.9.1)
	tables uint32       // position of the path tables: little endian, then big endian
}

// directory is one of a volume.
type directory struct {
	id      string
	node    *fstree.Node
	parent  *directory
	number  int // in the path table, from 1
	entries []entry
	links   uint32

	lba, size uint32 // position of the records, their length in bytes
	more      uint32 // position of what did not fit into the records: Rock Ridge's continuation areas
}

// entry is a name in a directory.
type entry struct {
	id   string // as the volume has it, without the version
	name string
	node *fstree.Node
	dir  *directory // when it is one
}

// newVolume makes the hierarchy of a tree.
func newVolume(root *fstree.Node, k kind) (*volume, error) {
	v := &volume{kind: k}
	top := &directory{id: "\x00", node: root, number: 1}
	top.parent = top
	v.dirs = []*directory{top}
	for i := 0; i < len(v.dirs); i++ {
		v.open(v.dirs[i])
		if len(v.dirs) > maxDirs {
			return nil, step.Failf("an ISO cannot have more than %d directories, and the image does; take another format", maxDirs)
		}
	}
	return v, nil
}

// open fills in the entries of a directory, and appends the directories in it to all.
func (v *volume) open(d *directory) {
	var names []string
	var dirs []bool
	var naming naming = isoNames{}
	if v.kind == joliet {
		naming = jolietNames{}
	}
	d.links = 2
	for _, c := range d.node.Children {
		if c.Node.Type == tar.TypeDir {
			d.links++
		} else if v.kind == joliet && c.Node.Type != tar.TypeReg {
			continue // there are no links and devices in it
		}
		names, dirs = append(names, c.Name), append(dirs, c.Node.Type == tar.TypeDir)
		d.entries = append(d.entries, entry{name: c.Name, node: c.Node})
	}
	for i, id := range identifiers(naming, names, dirs) {
		d.entries[i].id = id
	}
	// ECMA-119 §9.3: by name and extension; the characters of names are all larger than the dot.
	slices.SortFunc(d.entries, func(a, b entry) int { return strings.Compare(a.id, b.id) })
	for i := range d.entries {
		if e := &d.entries[i]; e.node.Type == tar.TypeDir {
			e.dir = &directory{id: e.id, node: e.node, parent: d, number: len(v.dirs) + 1}
			v.dirs = append(v.dirs, e.dir)
		}
	}
}

// tableSize is the length of a path table in bytes.
func (v *volume) tableSize() int64 {
	var n int64
	for _, d := range v.dirs {
		n += int64(tableRecordLen + len(d.id) + len(d.id)%2)
	}
	return n
}

// tableRecordLen is the length of a path table record without its identifier (ECMA-119 §9.4).
const tableRecordLen = 8

// table is the path table with numbers in that order.
func (v *volume) table(order binary.AppendByteOrder) []byte {
	var p []byte
	for _, d := range v.dirs {
		p = append(p, byte(len(d.id)), 0)
		p = order.AppendUint32(p, d.lba)
		p = order.AppendUint16(p, uint16(d.parent.number))
		p = append(p, d.id...)
		p = append(p, make([]byte, len(d.id)%2)...)
	}
	return p
}
