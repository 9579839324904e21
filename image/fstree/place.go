package fstree

import (
	"archive/tar"
	"path"
	"strings"
)

const (
	// maxLinks is how many symbolic links Linux follows in one name (include/linux/namei.h, MAXSYMLINKS).
	maxLinks = 40
	// maxDepth bounds the directories below each other, which symbolic links could make endless.
	maxDepth = 2048
	// scanned is the size of a directory up to which its names are looked through one by one.
	scanned = 16
)

// place gives n the name, in place of what had it.
func (b *builder) place(name string, n *Node) error {
	if name == "." {
		if n.Type != tar.TypeDir {
			return b.refused("the root directory", "is not a directory there; remove that entry")
		}
		b.root.become(n)
		return nil
	}
	dir, err := b.directory(path.Dir(name))
	if err != nil {
		return err
	}
	at := b.index(dir, path.Base(name))
	if at < 0 {
		b.add(dir, b.shared(path.Base(name)), n)
		return nil
	}
	old := dir.Children[at].Node
	if old.Type == tar.TypeDir && n.Type == tar.TypeDir {
		old.become(n)
		return nil
	}
	if len(old.Children) > 0 {
		return b.refused(name, "is no directory, but what comes before has a directory of that name with files in it; rename one of them")
	}
	dir.Children[at].Node = n
	return nil
}

// become gives a directory the owner, mode, time and xattrs of another.
func (n *Node) become(other *Node) {
	children := n.Children
	*n = *other
	n.Children = children
}

// directory is the one of that name, made with those above it where they are missing.
func (b *builder) directory(name string) (*Node, error) {
	w := walker{dirs: []*Node{b.root}, rest: []piece{{path: name}}}
	for len(w.rest) > 0 {
		element, ofLink := w.next()
		if element == "" {
			continue
		}
		dir := w.dirs[len(w.dirs)-1]
		at := b.index(dir, element)
		if at < 0 && ofLink {
			return nil, b.refused(name, "must be a directory for what is in it, but leads to %s, which is not there; add that directory", element)
		}
		if at < 0 {
			b.add(dir, b.shared(element), made())
			at = len(dir.Children) - 1
		}
		if why := w.enter(dir.Children[at].Node); why != "" {
			return nil, b.refused(name, "must be a directory for what is in it, but %s in it is %s; rename one of them", element, why)
		}
	}
	return w.dirs[len(w.dirs)-1], nil
}

// find is the node of that name, which may be a symbolic link itself; nil for none and for a directory, which has no
// second name.
func (b *builder) find(name string) *Node {
	w := walker{dirs: []*Node{b.root}, rest: []piece{{path: path.Dir(name)}}}
	for len(w.rest) > 0 {
		element, _ := w.next()
		if element == "" {
			continue
		}
		dir := w.dirs[len(w.dirs)-1]
		at := b.index(dir, element)
		if at < 0 || w.enter(dir.Children[at].Node) != "" {
			return nil
		}
	}
	dir := w.dirs[len(w.dirs)-1]
	at := b.index(dir, path.Base(name))
	if at < 0 || dir.Children[at].Node.Type == tar.TypeDir {
		return nil
	}
	return dir.Children[at].Node
}

// walker goes down a path as Linux does (path_resolution(7)), in a tree that nothing leads out of.
type walker struct {
	dirs  []*Node // from the root to where it is
	rest  []piece // still to go, the next one last
	links int     // symbolic links it followed
}

// piece is a path still to go: of the name, or of a symbolic link in it.
type piece struct {
	path   string
	ofLink bool
}

// next is the next name to go to; "" when there was nothing to go to.
func (w *walker) next() (element string, ofLink bool) {
	last := &w.rest[len(w.rest)-1]
	ofLink = last.ofLink
	element, rest, more := strings.Cut(last.path, "/")
	if last.path = rest; !more {
		w.rest = w.rest[:len(w.rest)-1]
	}
	switch element {
	case "..":
		w.dirs = w.dirs[:max(1, len(w.dirs)-1)]
		return "", ofLink
	case ".":
		return "", ofLink
	}
	return element, ofLink
}

// enter goes to n, a child of where it is. It says what is wrong with n when that is impossible.
func (w *walker) enter(n *Node) string {
	switch n.Type {
	case tar.TypeDir:
		if len(w.dirs) > maxDepth {
			return "too deep"
		}
		w.dirs = append(w.dirs, n)
	case tar.TypeSymlink:
		if w.links++; w.links > maxLinks {
			return "a symbolic link that leads to itself"
		}
		if strings.HasPrefix(n.Linkname, "/") {
			w.dirs = w.dirs[:1]
		}
		w.rest = append(w.rest, piece{n.Linkname, true})
	default:
		return "a file"
	}
	return ""
}

// index is the place of a name in a directory; -1 for none.
func (b *builder) index(dir *Node, name string) int {
	if len(dir.Children) > scanned {
		if at, ok := b.large[dir][name]; ok {
			return at
		}
		return -1
	}
	for i := range dir.Children {
		if dir.Children[i].Name == name {
			return i
		}
	}
	return -1
}

// add adds a name that is not there.
func (b *builder) add(dir *Node, name string, n *Node) {
	dir.Children = append(dir.Children, Child{name, n})
	switch count := len(dir.Children); {
	case count > scanned+1:
		b.large[dir][name] = count - 1
	case count == scanned+1:
		places := make(map[string]int, 2*count)
		for i, c := range dir.Children {
			places[c.Name] = i
		}
		b.large[dir] = places
	}
}
