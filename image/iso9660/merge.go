package iso9660

import (
	"archive/tar"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/step"
)

// maxName is the longest name in bytes that Linux reads from Rock Ridge (fs/isofs/rock.c, get_rock_ridge_filename).
const maxName = 253

// merger puts files into a tree of somebody else: it copies the directories that it changes.
type merger struct {
	root     *fstree.Node
	time     time.Time
	contents map[*fstree.Node]*extents.List
	own      map[*fstree.Node]bool // directories that are copies
}

func (m *merger) merge(root *fstree.Node, o Options) error {
	if root == nil {
		root = m.directory()
	}
	if root.Type != tar.TypeDir {
		return step.Failf("what is to be the root of an ISO is no directory; give one")
	}
	m.root = m.copy(root)
	files := slices.Clone(o.Files)
	if o.BIOS != nil {
		files = append(files, File{o.BIOS.Name, extents.Bytes(o.BIOS.Image)})
	}
	if o.EFI != nil {
		files = append(files, File{o.EFI.Name, o.EFI.Image})
	}
	for _, f := range files {
		if err := m.add(f); err != nil {
			return err
		}
	}
	return nil
}

// add puts one file into the tree.
func (m *merger) add(f File) error {
	name := clean(f.Name)
	if name == "." || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
		return step.Failf("%q cannot be the name of a file in an ISO; give a path within it, such as boot/kernel", f.Name)
	}
	elements := strings.Split(name, "/")
	dir := m.root
	for i, element := range elements[:len(elements)-1] {
		at, found := slices.BinarySearchFunc(dir.Children, element, compare)
		if !found {
			dir.Children = slices.Insert(dir.Children, at, fstree.Child{Name: element, Node: m.directory()})
		}
		child := &dir.Children[at]
		if child.Node.Type != tar.TypeDir {
			return step.Failf("%s cannot be put into the ISO: %s is no directory; rename it in the image", name, strings.Join(elements[:i+1], "/"))
		}
		child.Node = m.copy(child.Node)
		dir = child.Node
	}
	base := elements[len(elements)-1]
	at, found := slices.BinarySearchFunc(dir.Children, base, compare)
	if found {
		return step.Failf("%s cannot be put into the ISO: the image has something of that name; rename it there", name)
	}
	n := &fstree.Node{Type: tar.TypeReg, Mode: 0o644, Links: 1, Part: -1, Entry: -1, ModTime: m.time}
	dir.Children = slices.Insert(dir.Children, at, fstree.Child{Name: base, Node: n})
	m.contents[n] = f.Content
	if f.Content == nil {
		m.contents[n] = &extents.List{}
	}
	return nil
}

// directory is a new one.
func (m *merger) directory() *fstree.Node {
	n := &fstree.Node{Type: tar.TypeDir, Mode: 0o755, Part: -1, Entry: -1, ModTime: m.time}
	m.own[n] = true
	return n
}

// copy is a directory that may be changed.
func (m *merger) copy(n *fstree.Node) *fstree.Node {
	if m.own[n] {
		return n
	}
	c := *n
	c.Children = slices.Clone(n.Children)
	m.own[&c] = true
	return &c
}

func compare(c fstree.Child, name string) int { return strings.Compare(c.Name, name) }

// clean is a path as fstree.Walk says it.
func clean(name string) string { return path.Clean(strings.TrimLeft(name, "/")) }

// checkNode refuses what Rock Ridge or Linux's reader of it cannot say.
func checkNode(name string, n *fstree.Node) error {
	if len(path.Base(name)) > maxName {
		return step.Failf("%.64q... has a name of %d bytes, and Linux reads up to %d from an ISO; shorten it or take another format",
			name, len(path.Base(name)), maxName)
	}
	if n.Type == tar.TypeChar || n.Type == tar.TypeBlock {
		if _, _, ok := device(n.Major, n.Minor); !ok {
			return step.Failf("%s is device %d:%d, which an ISO cannot say; take another format", name, n.Major, n.Minor)
		}
	}
	return nil
}
