package fat

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// entrySize is the size of a directory entry in bytes.
const entrySize = 32

// node is a file or a directory.
type node struct {
	name     string
	path     string
	short    shortName
	dir      bool
	content  *extents.List // of a file, never nil
	parent   *node
	children []*node // of a directory, in the order of their folded names

	entries int   // of a directory: how many it has
	cluster int64 // the first one; 0: none
	count   int64 // of clusters
}

// tree is what the volume holds.
type tree struct {
	root  *node
	dirs  []*node // parents before children, the root first
	files []*node // in the order of their folded paths
	bytes int64   // of all contents
	used  int64   // clusters, once they are placed
}

// newTree checks the files and gives all names short ones. A label takes an entry in the root directory.
func newTree(files []File, label shortName) (*tree, error) {
	t := &tree{root: &node{dir: true}}
	known := map[string]*node{"": t.root}
	sorted := slices.Clone(files)
	slices.SortStableFunc(sorted, func(a, b File) int {
		return cmp.Or(cmp.Compare(fold(a.Path), fold(b.Path)), cmp.Compare(a.Path, b.Path))
	})
	for _, f := range sorted {
		if err := t.add(known, f); err != nil {
			return nil, err
		}
	}
	t.walk(t.root)
	for _, d := range t.dirs {
		if err := d.shorten(label); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *tree) add(known map[string]*node, f File) error {
	parts := strings.Split(strings.Trim(f.Path, "/"), "/")
	for _, part := range parts {
		if fault := checkName(part); fault != "" {
			return step.Failf("the path %q in a FAT volume %s: give the file another name", f.Path, fault)
		}
	}
	parent := t.root
	for i, part := range parts {
		path := strings.Join(parts[:i+1], "/")
		last := i == len(parts)-1
		n := known[fold(path)]
		switch {
		case n != nil && last:
			return step.Failf("the path %q in a FAT volume is there already as %q, and FAT does not tell upper from lower case: leave one out", f.Path, n.path)
		case n != nil && !n.dir:
			return step.Failf("the path %q in a FAT volume is below %q, which is a file: give one another name", f.Path, n.path)
		case n == nil:
			n = &node{name: part, path: path, dir: !last, parent: parent}
			known[fold(path)] = n
			parent.children = append(parent.children, n)
		}
		parent = n
	}
	parent.content = f.Content
	if parent.content == nil {
		parent.content = &extents.List{}
	}
	if size := parent.content.Size(); size > maxFile {
		return step.Failf("the file %q has %d bytes, and FAT has files up to 4 GiB less one byte: put it into another partition", f.Path, size)
	}
	t.bytes += parent.content.Size()
	return nil
}

// walk gathers directories and files.
func (t *tree) walk(d *node) {
	slices.SortFunc(d.children, func(a, b *node) int { return cmp.Compare(fold(a.name), fold(b.name)) })
	t.dirs = append(t.dirs, d)
	for _, n := range d.children {
		if n.dir {
			t.walk(n)
		} else {
			t.files = append(t.files, n)
		}
	}
}

// shorten gives the names in a directory short ones: first those that have one, so that no alias takes it.
func (d *node) shorten(label shortName) error {
	a := &aliases{taken: map[shortName]bool{}, next: map[string]int{}}
	var long []*node
	for _, n := range d.children {
		short, ok := exactShort(n.name)
		if !ok {
			long = append(long, n)
			continue
		}
		n.short = short
		a.taken[short] = true
	}
	for _, n := range long {
		short, ok := a.alias(n.name)
		if !ok {
			return step.Failf("the directory %q has too many names like %q for FAT: spread them over several directories", d.path, n.name)
		}
		n.short = short
	}
	switch {
	case d.path != "":
		d.entries = 2 // . and ..
	case label != blankLabel:
		d.entries = 1
	}
	for _, n := range d.children {
		d.entries += n.longEntries() + 1
	}
	if d.entries*entrySize > maxDirectory {
		return step.Failf("the directory %q takes %d entries and FAT allows %d: spread its files over several directories", d.path, d.entries, maxDirectory/entrySize)
	}
	return nil
}

// longEntries is how many entries the long name takes: none when the short name is the same.
func (n *node) longEntries() int {
	if n.short.text() == n.name {
		return 0
	}
	return (len(utf16.Encode([]rune(n.name))) + unitsPer - 1) / unitsPer
}

// size is what the node takes of the data area in bytes.
func (n *node) size() int64 {
	if n.dir {
		return int64(n.entries) * entrySize
	}
	return n.content.Size()
}

// inData says whether the node has clusters in a volume of that geometry.
func (t *tree) inData(n *node, g *geometry) bool { return n != t.root || g.typ == FAT32 }

// clusters is how many clusters all of the tree takes.
func (t *tree) clusters(g *geometry) int64 {
	var sum int64
	for _, d := range t.dirs {
		if t.inData(d, g) {
			sum += max(g.clustersFor(d.size()), 1)
		}
	}
	for _, f := range t.files {
		sum += g.clustersFor(f.size())
	}
	return sum
}

// place gives directories and then files their clusters.
func (t *tree) place(g *geometry) {
	next := int64(2)
	for _, d := range t.dirs {
		if t.inData(d, g) {
			d.cluster, d.count = next, max(g.clustersFor(d.size()), 1)
			next += d.count
		}
	}
	for _, f := range t.files {
		if f.count = g.clustersFor(f.size()); f.count > 0 {
			f.cluster = next
			next += f.count
		}
	}
	t.used = next - 2
}
