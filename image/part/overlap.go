package part

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
	"github.com/kiln-farm/kiln/internal/extsort"
)

// sortMemory is how many bytes of names are sorted in memory.
const sortMemory = 8 << 20

// Overlap says for each part which names it must leave out of its archive, so that the kernel, which unpacks the
// archives one over the other, ends with the tree that the tar gives: later entries win, whole; a directory that a part
// has no entry for is made by the first part with something in it, and left alone by the others. Trees has each part's own
// trees. What cannot be made equal is a step.Failure.
//
// What happens to a name stands together once all names are sorted, and what is below it right after: memory does not grow
// with the number of files.
func Overlap(ctx context.Context, blobs cache.Blobs, params step.OverlapParams, trees [][]cache.Digest) ([][]string, error) {
	events := extsort.New(sortMemory, func() (*os.File, error) { return blobs.Scratch(ctx) })
	defer events.Close()
	for part, root := range params.Roots {
		if err := touches(ctx, blobs, part, root, trees[part], events); err != nil {
			return nil, err
		}
	}
	sorted, err := events.Sorted()
	if err != nil {
		return nil, err
	}
	o := overlap{labels: params.Labels, omit: make([][]string, len(params.Roots))}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		record, err := sorted.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		t, err := decodeTouch(record)
		if err != nil {
			return nil, err
		}
		if err := o.touch(t); err != nil {
			return nil, err
		}
	}
	for len(o.open) > 0 {
		o.leave()
	}
	for part, names := range o.omit {
		slices.Sort(names)
		o.omit[part] = slices.Compact(names)
	}
	return o.omit, nil
}

// touches notes which names a part has.
func touches(ctx context.Context, blobs cache.Blobs, part int, root step.Root, trees []cache.Digest, events *extsort.Sorter) error {
	root.Decompress = false // the kernel is in no archive
	number := uint32(0)
	var buf []byte
	return Walk(ctx, blobs, root, trees, func(e *tree.Entry) error {
		cleaned(e)
		if e.Name == "." || strings.HasPrefix(e.Name, boot) || e.Type == tar.TypeXGlobalHeader {
			return nil
		}
		number++
		buf = appendTouch(buf[:0], touch{e.Name, at{uint32(part), number}, e.Type})
		if err := events.Add(buf); err != nil || e.Type != tar.TypeLink {
			return err
		}
		for _, name := range []string{e.Name, e.Linkname} {
			buf = appendTouch(buf[:0], touch{name, at{uint32(part), endOfPart}, isLinked})
			if err := events.Add(buf); err != nil {
				return err
			}
		}
		return nil
	})
}

// overlap reads the names in order: a directory, all that is below it, what comes after it.
type overlap struct {
	labels []string
	omit   [][]string
	open   []*named // the name that is read and those above it
}

// named is a name, and what the parts do to it and below it.
type named struct {
	name string
	puts []put
	// below has the parts with something below the name.
	below map[uint32]bool
	// A part that has something below the name at such a time, other than the span's own part, is a fault.
	replaced, blocked []span
}

// put is an entry of that name.
type put struct {
	at     at
	kind   byte
	linked bool // one of several names of a file
}

// span is a time: from after one entry to before another.
type span struct {
	from, to at
	part     uint32
}

func (s span) has(t at) bool { return s.from.before(t) && t.before(s.to) && t.part != s.part }

// touch takes the next event.
func (o *overlap) touch(t touch) error {
	for len(o.open) > 0 {
		last := o.open[len(o.open)-1]
		if last.name == t.name || strings.HasPrefix(t.name, last.name) && t.name[len(last.name)] == '/' {
			break
		}
		o.leave()
	}
	o.enter(t.name)
	n := o.open[len(o.open)-1]
	if t.kind == isLinked {
		if last := len(n.puts) - 1; last >= 0 && n.puts[last].at.part == t.at.part {
			n.puts[last].linked = true
		}
		return nil
	}
	for _, above := range o.open[:len(o.open)-1] {
		if err := o.inside(above, t); err != nil {
			return err
		}
	}
	n.put(o, t)
	return nil
}

// enter opens a name and those above it that nobody has touched.
func (o *overlap) enter(name string) {
	from := 0
	if len(o.open) > 0 {
		if from = len(o.open[len(o.open)-1].name); from == len(name) {
			return
		}
		from++
	}
	for {
		next := strings.IndexByte(name[from:], '/')
		if next < 0 {
			o.open = append(o.open, &named{name: name})
			return
		}
		o.open = append(o.open, &named{name: name[:from+next]})
		from += next + 1
	}
}

// put notes an entry. Names come before what is below them, so what must not be there meanwhile is noted for later.
func (n *named) put(o *overlap, t touch) {
	isDir := t.kind == tar.TypeDir
	var since at // when the name became what it is, if it is a directory
	if len(n.puts) > 0 {
		before := n.puts[len(n.puts)-1]
		if before.at.part != t.at.part && before.kind != tar.TypeDir && (before.linked || before.kind != t.kind) {
			// Writing over one of several names would change them all; over another type, nothing.
			o.omit[before.at.part] = append(o.omit[before.at.part], n.name)
		}
		for i := len(n.puts) - 1; i >= 0 && since == (at{}); i-- {
			if n.puts[i].kind != tar.TypeDir {
				since = n.puts[i].at
			}
		}
		if before.kind != tar.TypeDir {
			since = t.at
		}
	}
	if !isDir && since.before(t.at) {
		n.replaced = append(n.replaced, span{since, t.at, t.at.part})
	}
	if last := len(n.blocked) - 1; last >= 0 && n.blocked[last].to == never {
		n.blocked[last].to = t.at
	}
	if !isDir && t.kind != tar.TypeSymlink { // a link may lead to a directory
		n.blocked = append(n.blocked, span{t.at, never, t.at.part})
	}
	n.puts = append(n.puts, put{at: t.at, kind: t.kind})
}

// inside notes that something is below a name.
func (o *overlap) inside(n *named, t touch) error {
	for _, s := range n.replaced {
		if s.has(t.at) {
			return step.Failf("%s makes %s a file or link, but in %s it is a directory with files in it; rename one of them",
				o.label(s.part), n.name, o.label(t.at.part))
		}
	}
	for _, s := range n.blocked {
		if s.has(t.at) {
			return step.Failf("%s has a file %s, but in %s %s is not a directory; rename one of them", o.label(t.at.part), t.name, o.label(s.part), n.name)
		}
	}
	if n.below == nil {
		n.below = map[uint32]bool{}
	}
	n.below[t.at.part] = true
	return nil
}

// leave ends a name: parts that have something below it and no entry for it leave it to the first that has any.
func (o *overlap) leave() {
	n := o.open[len(o.open)-1]
	o.open = o.open[:len(o.open)-1]
	if len(n.below) == 0 {
		return
	}
	first := uint32(endOfPart)
	own, dirs := map[uint32]bool{}, map[uint32]bool{}
	for _, p := range n.puts {
		first = min(first, p.at.part)
		own[p.at.part] = true
		if p.kind == tar.TypeDir {
			dirs[p.at.part] = true
		}
	}
	for part := range n.below {
		first = min(first, part)
	}
	for part := range n.below {
		if !dirs[part] && (part != first || own[part]) {
			o.omit[part] = append(o.omit[part], n.name)
		}
	}
}

func (o *overlap) label(part uint32) string {
	if int(part) < len(o.labels) && o.labels[part] != "" {
		return o.labels[part]
	}
	return "a part of the image"
}
