package flat

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
	"github.com/kiln-farm/kiln/internal/extsort"
)

// emit gives out the entries that are left, the highest layer's first.
func (f *flattener) emit(o *outcome, bodies cache.Digest, emit func(*tree.Entry) error) error {
	heads, err := f.heads(o)
	if err != nil {
		return err
	}
	defer heads.close()
	w := &writer{flattener: f, outcome: o, bodies: bodies, heads: heads, globals: map[string]bool{}, names: map[id]string{}, emit: emit}
	for layer := len(f.layers) - 1; layer >= 0; layer-- {
		if err := f.spool.each(layer, w.entry); err != nil {
			return f.inLayer(layer, err)
		}
	}
	return o.dirs.bare(func(path string) error {
		return w.give(&tree.Entry{Name: path, Type: tar.TypeDir, Mode: 0o755, ModTime: impliedTime})
	})
}

// impliedTime is the time of directories that nobody has an entry for.
var impliedTime = time.Unix(0, 0).UTC()

type writer struct {
	*flattener
	*outcome
	bodies  cache.Digest
	heads   *heads
	globals map[string]bool // PAX headers that were given out
	names   map[id]string   // of files that are written in the place of a link
	emit    func(*tree.Entry) error
}

func (w *writer) entry(i id, e *tree.Entry) error {
	if e.Type == tar.TypeXGlobalHeader {
		if w.globals[e.Name] {
			return nil
		}
		w.globals[e.Name] = true
		return w.emit(e)
	}
	if !w.isAlive(i) {
		return nil
	}
	if parent, ok := w.moved[i]; ok {
		e.Name = path.Join(w.dirs.path(parent), path.Base(e.Name))
	}
	if e.Type == tar.TypeLink {
		var err error
		if e, err = w.link(i, e); err != nil {
			return err
		}
		return w.give(e)
	}
	w.place(i, e)
	return w.give(e)
}

func (w *writer) give(e *tree.Entry) error {
	if e.Body.Size > 0 {
		e.Body.Blob = w.bodies
	}
	if len(e.Name) > maxName || len(e.Linkname) > maxName {
		return step.Failf("entry %.64q... has a name or target of more than %d bytes; shorten it", e.Name, maxName)
	}
	return w.emit(e)
}

// maxName is the longest name that a tree holds, in bytes.
const maxName = 1 << 20

// place says where the body of the entry i is.
func (f *flattener) place(i id, e *tree.Entry) {
	if body, ok := f.filled[i]; ok {
		e.Body = body
	}
}

// link makes of a hard link what it is in the end: a link to a name that its file has, or the file itself.
func (w *writer) link(i id, e *tree.Entry) (*tree.Entry, error) {
	number := w.links.find(i)
	l := &w.links.all[number]
	switch {
	case l.file == 0: // it leads nowhere, as in LinuxKit's tar; who unpacks it will say so
	case l.first == i:
		file, err := w.heads.next(i)
		if err != nil {
			return nil, err
		}
		file.Name = e.Name
		w.names[l.file] = e.Name
		return file, nil
	case w.links.keeps(number):
		if l.other {
			e.Linkname = w.links.path(w.dirs, number)
		}
	case l.first == l.file:
		e.Linkname = w.links.path(w.dirs, int(l.via))
	default:
		e.Linkname = w.names[l.file]
	}
	return e, nil
}

// heads are the headers of files that are written under a name that was a link, in the order of those names.
type heads struct {
	sorter *extsort.Sorter
	it     *extsort.Iterator
	links  *hardlinks
	given  int
}

func (f *flattener) heads(o *outcome) (*heads, error) {
	h := &heads{links: o.links, sorter: extsort.New(sortMemory, func() (*os.File, error) { return f.blobs.Scratch(f.ctx) })}
	orders := map[id]uint32{}
	for n, s := range o.links.stolen {
		orders[s.file] = uint32(n)
	}
	for layer := range f.layers {
		if len(orders) == 0 {
			break
		}
		err := f.spool.each(layer, func(i id, e *tree.Entry) error {
			order, ok := orders[i]
			if !ok {
				return nil
			}
			f.place(i, e)
			var b bytes.Buffer
			b.Write(binary.BigEndian.AppendUint32(nil, order))
			t := tree.NewWriter(&b)
			if err := t.Append(e); err != nil {
				return err
			}
			if err := t.Close(); err != nil {
				return err
			}
			return h.sorter.Add(b.Bytes())
		})
		if err != nil {
			h.close()
			return nil, err
		}
	}
	it, err := h.sorter.Sorted()
	if err != nil {
		h.close()
		return nil, err
	}
	h.it = it
	return h, nil
}

func (h *heads) close() { h.sorter.Close() }

// next is the header of the file whose name the link i is.
func (h *heads) next(i id) (*tree.Entry, error) {
	b, err := h.it.Next()
	if err == io.EOF || err == nil && h.links.stolen[h.given].first != i {
		return nil, fmt.Errorf("flatten: the file of a hard link is not where it was")
	}
	if err != nil {
		return nil, err
	}
	h.given++
	r, err := tree.NewReader(bytes.NewReader(b[4:]))
	if err != nil {
		return nil, err
	}
	return r.Next()
}
