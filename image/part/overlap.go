package part

import (
	"archive/tar"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// Overlap says for each part which names it must leave out of its archive, so that the kernel, which unpacks the
// archives one over the other, ends with the tree that the tar gives: later entries win, whole; a directory that a part
// has no entry for is made by the first part with something in it, and left alone by the others. Trees has each part's own
// trees. What cannot be made equal is a step.Failure.
func Overlap(ctx context.Context, blobs cache.Blobs, params step.OverlapParams, trees [][]cache.Digest) ([][]string, error) {
	o := overlap{last: map[string]place{}, omit: make([]map[string]bool, len(params.Roots))}
	for part, root := range params.Roots {
		o.omit[part] = map[string]bool{}
		o.part, o.labels = part, params.Labels
		o.own, o.implied = map[string]bool{}, map[string]bool{}
		linked := map[string]bool{}
		root.Decompress = false // the kernel is in no archive
		err := Walk(ctx, blobs, root, trees[part], func(e *tree.Entry) error {
			cleaned(e)
			if e.Name == "." || strings.HasPrefix(e.Name, boot) || e.Type == tar.TypeXGlobalHeader {
				return nil
			}
			if e.Type == tar.TypeLink {
				linked[e.Name], linked[e.Linkname] = true, true
			}
			return o.entry(e.Name, e.Type)
		})
		if err != nil {
			return nil, err
		}
		o.settle()
		for name := range linked {
			if at, ok := o.last[name]; ok && at.part == part {
				at.linked = true
				o.last[name] = at
			}
		}
	}
	out := make([][]string, len(o.omit))
	for i, names := range o.omit {
		for name := range names {
			out[i] = append(out[i], name)
		}
		slices.Sort(out[i])
	}
	return out, nil
}

// place is where a name was last written.
type place struct {
	part   int
	kind   byte
	linked bool // one of several names of a file
	filled bool // a directory with something in it
}

type overlap struct {
	last   map[string]place
	omit   []map[string]bool
	part   int
	labels []string
	// Directories of the part: with an entry of their own, and without one when something in them was met.
	own, implied map[string]bool
}

func (o *overlap) entry(name string, kind byte) error {
	before, exists := o.last[name]
	isDir := kind == tar.TypeDir
	if isDir {
		o.own[name] = true
	}
	for dir := path.Dir(name); dir != "." && !o.own[dir] && !o.implied[dir]; dir = path.Dir(dir) {
		o.implied[dir] = true
	}
	if exists && before.part != o.part {
		switch {
		case before.kind == tar.TypeDir && !isDir && before.filled:
			return step.Failf("%s makes %s a file or link, but in %s it is a directory with files in it; rename one of them",
				o.label(o.part), name, o.label(before.part))
		case before.kind != tar.TypeDir && (before.linked || before.kind != kind):
			// Writing over one of several names would change them all; over another type, nothing.
			o.omit[before.part][name] = true
		}
	}
	o.last[name] = place{part: o.part, kind: kind, filled: exists && before.filled && isDir}
	return o.fill(path.Dir(name), name)
}

// settle says which of the directories without an entry the part leaves to those before it.
func (o *overlap) settle() {
	for dir := range o.implied {
		switch _, there := o.last[dir]; {
		case o.own[dir]:
		case there:
			o.omit[o.part][dir] = true
		default:
			o.last[dir] = place{part: o.part, kind: tar.TypeDir, filled: true}
		}
	}
}

// fill notes that dir has something in it.
func (o *overlap) fill(dir, name string) error {
	parent, ok := o.last[dir]
	switch {
	case !ok || parent.filled:
		return nil
	case parent.kind == tar.TypeDir:
		parent.filled = true
		o.last[dir] = parent
	case parent.part != o.part && parent.kind != tar.TypeSymlink: // a link may lead to a directory
		return step.Failf("%s has a file %s, but in %s %s is not a directory; rename one of them", o.label(o.part), name, o.label(parent.part), dir)
	}
	return nil
}

func (o *overlap) label(part int) string {
	if part < len(o.labels) && o.labels[part] != "" {
		return o.labels[part]
	}
	return "a part of the image"
}
