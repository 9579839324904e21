package fstree

import (
	"archive/tar"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// xattrRecord starts the names of PAX records that are extended attributes (star(1)).
const xattrRecord = "SCHILY.xattr."

// Build unpacks the parts one over the other and returns the root directory.
func Build(ctx context.Context, blobs cache.Blobs, parts []Part, options Options) (*Node, error) {
	b := &builder{root: made(), large: map[*Node]map[string]int{}, strings: map[string]string{},
		waiting: map[string][]string{}, links: map[string]link{}}
	for i, p := range parts {
		b.part, b.label = int32(i), p.label()
		if err := Each(ctx, blobs, p, options, b.entry); err != nil {
			return nil, err
		}
	}
	if err := b.unresolved(); err != nil {
		return nil, err
	}
	finish(b.root)
	return b.root, nil
}

// made is a directory that nobody wrote.
func made() *Node {
	return &Node{Type: tar.TypeDir, Mode: 0o755, ModTime: part.DefaultTime, Part: -1, Entry: -1}
}

type builder struct {
	root  *Node
	part  int32
	label string
	// large has the places of children in directories with many, which are sorted at the end only.
	large   map[*Node]map[string]int
	strings map[string]string // one copy of each

	links   map[string]link     // hard links without a target yet, by their names
	waiting map[string][]string // names of such links, by what they wait for
}

// link is a hard link whose target was not there when its entry came.
type link struct{ target, label string }

func (b *builder) entry(number int, e *tree.Entry) error {
	if err := part.Check(b.label, e); err != nil {
		return err
	}
	if e.Type == tar.TypeLink {
		return b.hardLink(e)
	}
	return b.put(e.Name, b.node(number, e))
}

// node takes over an entry.
func (b *builder) node(number int, e *tree.Entry) *Node {
	n := &Node{Type: e.Type, Mode: uint32(e.Mode & 0o7777), Part: b.part, Entry: int32(number), ModTime: e.ModTime.UTC()}
	if e.ModTime.IsZero() {
		n.ModTime = time.Unix(0, 0).UTC() // as in a tar
	}
	n.UID, n.GID = uint32(e.UID), uint32(e.GID)
	switch e.Type {
	case tar.TypeReg:
		n.Body = e.Body
	case tar.TypeSymlink:
		n.Linkname = b.shared(e.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		n.Major, n.Minor = uint32(e.Devmajor), uint32(e.Devminor)
	}
	for name, value := range e.PAX {
		if name, ok := strings.CutPrefix(name, xattrRecord); ok && name != "" {
			n.Xattrs = append(n.Xattrs, Xattr{b.shared(name), b.shared(value)})
		}
	}
	slices.SortFunc(n.Xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	n.Xattrs = slices.Clip(n.Xattrs)
	return n
}

// shared is s, held once and apart from the longer string of which it may be a part.
func (b *builder) shared(s string) string {
	if known, ok := b.strings[s]; ok {
		return known
	}
	s = strings.Clone(s)
	b.strings[s] = s
	return s
}

// hardLink gives its target one more name, now or when the target comes.
func (b *builder) hardLink(e *tree.Entry) error {
	target := b.find(e.Linkname)
	if target == nil {
		name := strings.Clone(e.Name)
		b.links[name] = link{target: e.Linkname, label: b.label}
		b.waiting[e.Linkname] = append(b.waiting[e.Linkname], name)
		return nil
	}
	return b.put(e.Name, target)
}

// put gives n the name, and to the links that waited for it theirs.
func (b *builder) put(name string, n *Node) error {
	for todo := []string{name}; len(todo) > 0; todo = todo[1:] {
		name := todo[0]
		if err := b.place(name, n); err != nil {
			return err
		}
		if len(b.links) == 0 {
			continue
		}
		delete(b.links, name)
		if n.Type == tar.TypeDir {
			continue // which has no second name
		}
		for _, waits := range b.waiting[name] {
			if b.links[waits].target == name {
				todo = append(todo, waits)
			}
		}
		delete(b.waiting, name)
	}
	return nil
}

// unresolved links the rest, whose targets came under other names: through a symbolic link.
func (b *builder) unresolved() error {
	names := make([]string, 0, len(b.links))
	for name := range b.links {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l, waits := b.links[name]
		if !waits {
			continue // another link's coming has ended the waiting
		}
		target := b.find(l.target)
		if target == nil {
			return step.Failf("%s: the hard link %s leads to %s, which is no file in the image; add that file or make it a file of its own",
				l.label, name, l.target)
		}
		b.label = l.label
		if err := b.put(name, target); err != nil {
			return err
		}
	}
	return nil
}

// finish sorts directories and counts links.
func finish(dir *Node) {
	slices.SortFunc(dir.Children, func(a, b Child) int { return strings.Compare(a.Name, b.Name) })
	dir.Children = slices.Clip(dir.Children)
	dir.Links = 2
	for _, c := range dir.Children {
		if c.Node.Type == tar.TypeDir {
			dir.Links++
			finish(c.Node)
		} else {
			c.Node.Links++
		}
	}
}

// refused is an entry that cannot be where it says.
func (b *builder) refused(name, format string, args ...any) error {
	return step.Failf("%s: %s %s", b.label, name, fmt.Sprintf(format, args...))
}
