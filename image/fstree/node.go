package fstree

import (
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/image/tree"
)

// Node is a file, directory, link or device. Names that are hard links of each other lead to the same Node.
type Node struct {
	Type     byte   // tar.TypeReg, TypeDir, TypeSymlink, TypeChar, TypeBlock or TypeFifo
	Mode     uint32 // the bits of 07777
	UID, GID uint32
	Links    uint32 // names of a file; of a directory two and one for each directory in it
	// Part and Entry tell which entry of which part the node is, counted from zero in part.Walk's order. Both are -1 for
	// a directory that nobody wrote.
	Part, Entry  int32
	Major, Minor uint32    // of a device
	ModTime      time.Time // in UTC; never the zero time
	Linkname     string    // of a symbolic link
	Xattrs       []Xattr   // sorted by name
	Body         tree.Body // of a regular file
	Children     []Child   // of a directory, sorted by the bytes of their names
}

// Child is a name in a directory.
type Child struct {
	Name string
	Node *Node
}

// Xattr is an extended attribute under its whole name ("security.capability"); its value is any bytes.
type Xattr struct{ Name, Value string }

// Child returns what has that name in the directory n; nil for nothing.
func (n *Node) Child(name string) *Node {
	i, ok := slices.BinarySearchFunc(n.Children, name, func(c Child, name string) int { return strings.Compare(c.Name, name) })
	if !ok {
		return nil
	}
	return n.Children[i].Node
}

// Walk calls f for root, as ".", and for every name below it ("etc/hosts"), a directory before what is in it, in the
// order of the names' bytes. A node is met once under each of its names.
func Walk(root *Node, f func(path string, n *Node) error) error {
	if err := f(".", root); err != nil {
		return err
	}
	return walk("", root, f)
}

func walk(prefix string, dir *Node, f func(string, *Node) error) error {
	for _, c := range dir.Children {
		path := prefix + c.Name
		if err := f(path, c.Node); err != nil {
			return err
		}
		if len(c.Node.Children) > 0 {
			if err := walk(path+"/", c.Node, f); err != nil {
				return err
			}
		}
	}
	return nil
}
