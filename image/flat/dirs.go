package flat

import (
	"hash/maphash"
	"strings"

	"github.com/kiln-farm/kiln/image/step"
)

const (
	// maxLinks is how many symbolic links Linux follows in one name (include/linux/namei.h, MAXSYMLINKS).
	maxLinks = 40
	// maxNodes and maxText (bytes) bound directories and symbolic links, which are held in memory.
	maxNodes = 2 << 20
	maxText  = 256 << 20
)

// node is the number of a directory or symbolic link; 0 is none. A node that was removed keeps its number, and what
// comes in its place gets another.
type node uint32

const root node = 1

// dirs are the directories and symbolic links of an image while its layers are laid one over the other: what is needed
// to say where a name leads. There are no pointers in it, so that a million cost the garbage collector nothing.
type dirs struct {
	nodes []inode // by node; the first is none
	text  []byte  // names and targets
	table []node  // of those that are there, by parent and name; open addressing
	there int     // places taken in table, removed ones included
	seed  maphash.Seed
	hides map[node][]id // when entries of lower layers vanished from a directory that stayed
}

type inode struct {
	parent      node
	child, next node   // the first child, the next of the same parent; removed ones included
	name        uint32 // in text
	nameSize    uint32
	target      uint32 // in text: where a symbolic link leads
	targetSize  uint32
	layer       uint32 // of the last entry below it or for it
	removed     bool
	symlink     bool
	filled      bool // a directory with something in it, when all is settled
	entry       id   // its own; 0: a directory that no layer has an entry for
}

func newDirs() *dirs {
	return &dirs{nodes: make([]inode, 2, 64), table: make([]node, 64), seed: maphash.MakeSeed(), hides: map[node][]id{}}
}

func (d *dirs) name(n node) string {
	at := &d.nodes[n]
	return string(d.text[at.name : at.name+at.nameSize])
}

// path is the name of a node below the root.
func (d *dirs) path(n node) string {
	if n == root {
		return "."
	}
	var elements []string
	for ; n != root; n = d.nodes[n].parent {
		elements = append(elements, d.name(n))
	}
	var b strings.Builder
	for i := len(elements) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		b.WriteString(elements[i])
	}
	return b.String()
}

// child is what has that name in a directory; 0 for nothing that is known here.
func (d *dirs) child(parent node, name string) node {
	for at := d.hash(parent, name); ; at = (at + 1) & (len(d.table) - 1) {
		n := d.table[at]
		if n == 0 {
			return 0
		}
		if i := &d.nodes[n]; !i.removed && i.parent == parent && string(d.text[i.name:i.name+i.nameSize]) == name {
			return n
		}
	}
}

func (d *dirs) hash(parent node, name string) int {
	return int((maphash.String(d.seed, name) ^ uint64(parent)*0x9e3779b97f4a7c15) & uint64(len(d.table)-1))
}

// add puts a directory or, with a target, a symbolic link where nothing has that name.
func (d *dirs) add(parent node, name, target string, isLink bool, entry id) (node, error) {
	if len(d.text)+len(name)+len(target) > maxText || len(d.nodes) > maxNodes {
		return 0, step.Failf("the image has more than %d directories and symbolic links, or their names are too long; make one with fewer", maxNodes)
	}
	if 4*(d.there+1) > 3*len(d.table) {
		d.rehash()
	}
	n := node(len(d.nodes))
	i := inode{parent: parent, next: d.nodes[parent].child, name: uint32(len(d.text)), nameSize: uint32(len(name)), symlink: isLink, entry: entry}
	d.text = append(d.text, name...)
	i.target, i.targetSize = uint32(len(d.text)), uint32(len(target))
	d.text = append(d.text, target...)
	d.nodes = append(d.nodes, i)
	d.nodes[parent].child = n
	d.put(n)
	return n, nil
}

func (d *dirs) put(n node) {
	at := d.hash(d.nodes[n].parent, d.name(n))
	for d.table[at] != 0 {
		at = (at + 1) & (len(d.table) - 1)
	}
	d.table[at] = n
	d.there++
}

// rehash makes the table anew, without what was removed and twice as large as what is left needs.
func (d *dirs) rehash() {
	live := 0
	for _, n := range d.table {
		if n != 0 && !d.nodes[n].removed {
			live++
		}
	}
	size := 64
	for size < 3*live {
		size *= 2
	}
	old := d.table
	d.table, d.there = make([]node, size), 0
	for _, n := range old {
		if n != 0 && !d.nodes[n].removed {
			d.put(n)
		}
	}
}

// remove takes a node out of its directory; what is below it is not found any more either.
func (d *dirs) remove(n node) { d.nodes[n].removed = true }

// touch notes that a layer has something for or below a node.
func (d *dirs) touch(n node, layer int) {
	for ; n != 0 && d.nodes[n].layer != uint32(layer); n = d.nodes[n].parent {
		d.nodes[n].layer = uint32(layer)
	}
}

// hide takes out of a directory, at the moment when, what layers below that moment's have in it.
func (d *dirs) hide(n node, when id) {
	layer := uint32(when.layer())
	for todo := []node{n}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		d.hides[n] = append(d.hides[n], when)
		for c := d.nodes[n].child; c != 0; c = d.nodes[c].next {
			switch i := &d.nodes[c]; {
			case i.removed:
			case i.layer < layer:
				d.remove(c)
			case !i.symlink:
				todo = append(todo, c)
			}
		}
	}
}

// hidden says that what an entry has put into a directory has vanished there since, by the moment when.
func (d *dirs) hidden(parent node, entry, when id) bool {
	for _, h := range d.hides[parent] {
		if h < when && h.layer() > entry.layer() {
			return true
		}
	}
	return false
}

// settle makes what is below removed nodes removed as well. Nothing is found any more after that.
func (d *dirs) settle() {
	d.table = nil
	for n := root + 1; int(n) < len(d.nodes); n++ { // a parent's number is smaller
		parent := &d.nodes[d.nodes[n].parent]
		if parent.removed {
			d.nodes[n].removed = true
		}
		if !d.nodes[n].removed {
			parent.filled = true
		}
	}
}

// bare calls f for the directories that nobody has an entry for and nothing is in: no other name tells of them.
func (d *dirs) bare(f func(path string) error) error {
	for n := root + 1; int(n) < len(d.nodes); n++ {
		if i := &d.nodes[n]; i.entry == 0 && !i.removed && !i.symlink && !i.filled {
			if err := f(d.path(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// walk goes from the root to the directory that path names, as Linux does (path_resolution(7)), in a tree that nothing
// leads out of. What is missing on the way is made by missing, unless that is nil: then the answer is 0. Followed says
// that a symbolic link was on the way, so that the directory has another name.
func (d *dirs) walk(path string, missing func(parent node, name string) (node, error)) (at node, followed bool, err error) {
	at, links := root, 0
	rest := []string{path} // still to go, the next piece last
	for len(rest) > 0 {
		last := len(rest) - 1
		element, more, cut := strings.Cut(rest[last], "/")
		if rest[last] = more; !cut {
			rest = rest[:last]
		}
		switch element {
		case "", ".":
			continue
		case "..":
			if at != root {
				at = d.nodes[at].parent
			}
			continue
		}
		next := d.child(at, element)
		if next == 0 {
			if missing == nil {
				return 0, false, nil
			}
			if next, err = missing(at, element); err != nil {
				return 0, false, err
			}
		}
		i := &d.nodes[next]
		if !i.symlink {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return 0, false, step.Failf("%q leads through more than %d symbolic links, or round in a circle; correct them", path, maxLinks)
		}
		target := string(d.text[i.target : i.target+i.targetSize])
		if strings.HasPrefix(target, "/") {
			at = root
		}
		rest = append(rest, target)
	}
	return at, links > 0, nil
}
