package flat

import (
	"errors"
	"os"
	"path"

	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// sortMemory is how many bytes of events are sorted in memory.
const sortMemory = 8 << 20

// outcome is what is left of the entries.
type outcome struct {
	dirs  *dirs
	alive []bits      // by layer and number: entries that are in the tree
	moved map[id]node // entries whose directory is not the one that they name, because of symbolic links
	links *hardlinks
}

// resolve lays the layers one over the other, by names alone.
func (f *flattener) resolve() (*outcome, error) {
	o := &outcome{dirs: newDirs(), moved: map[id]node{}, links: &hardlinks{}, alive: make([]bits, len(f.layers))}
	for layer := range o.alive {
		o.alive[layer] = newBits(f.spool.layers[layer].count)
	}
	ev := newEvents(func() (*os.File, error) { return f.blobs.Scratch(f.ctx) })
	defer ev.close()
	r := &resolver{outcome: o, events: ev}
	for layer := range f.layers {
		err := f.spool.each(layer, r.entry)
		if err == nil {
			err = r.later()
		}
		if err != nil {
			return nil, f.inLayer(layer, err)
		}
	}
	o.dirs.settle()
	for n := root; int(n) < len(o.dirs.nodes); n++ {
		if i := &o.dirs.nodes[n]; !i.symlink && !i.removed && i.entry != 0 {
			o.alive[i.entry.layer()].set(i.entry.number())
		}
	}
	if err := ev.settle(f.ctx, o); err != nil {
		return nil, err
	}
	o.links.settle(o)
	return o, nil
}

// inLayer names the layer in a sentence about it.
func (f *flattener) inLayer(layer int, err error) error {
	var failure *step.Failure
	if errors.As(err, &failure) {
		return step.Failf("layer %s: %w", f.layers[layer], failure.Err)
	}
	return err
}

// resolver takes the entries in the order in which unpacking meets them. Directories and symbolic links are followed
// at once, since they say where a name leads; what comes in the place of a file is an event, judged when all are sorted.
type resolver struct {
	*outcome
	events  *events
	waiting []int // hard links of this layer into a directory that is not there yet
}

func (r *resolver) entry(i id, e *tree.Entry) error {
	what, name, err := classify(e)
	if err != nil {
		return err
	}
	switch what {
	case opaque:
		at, _, err := r.dirs.walk(name, nil)
		if at != 0 {
			r.dirs.hide(at, i)
		}
		return err
	case whiteout:
		return r.whiteout(i, name)
	case dir:
		return r.directory(i, name)
	case leaf, link, symlink:
		return r.put(i, what, name, e)
	}
	return nil
}

// whiteout removes what lower layers have under a name.
func (r *resolver) whiteout(i id, name string) error {
	parent, _, err := r.dirs.walk(path.Dir(name), nil)
	if err != nil || parent == 0 {
		return err
	}
	base := path.Base(name)
	if n := r.dirs.child(parent, base); n != 0 {
		switch at := &r.dirs.nodes[n]; {
		case at.layer < uint32(i.layer()):
			r.dirs.remove(n)
		case !at.symlink: // something of this layer is in it, so it stays, as umoci has it
			r.dirs.hide(n, i)
		}
	}
	return r.events.add(parent, base, i, opWhiteout, 0)
}

func (r *resolver) directory(i id, name string) error {
	if name == "." {
		r.dirs.nodes[root].entry = i
		return nil
	}
	parent, err := r.parent(i, name)
	if err != nil {
		return err
	}
	base := path.Base(name)
	n := r.dirs.child(parent, base)
	if n != 0 && r.dirs.nodes[n].symlink {
		r.dirs.remove(n)
		n = 0
	}
	if n == 0 {
		if n, err = r.dirs.add(parent, base, "", false, i); err != nil {
			return err
		}
		if err := r.events.add(parent, base, i, opDirectory, 0); err != nil {
			return err
		}
	}
	r.dirs.nodes[n].entry = i
	r.dirs.touch(n, i.layer())
	return nil
}

// put puts a file, a symbolic link or one more name of either.
func (r *resolver) put(i id, what kind, name string, e *tree.Entry) error {
	parent, err := r.parent(i, name)
	if err != nil {
		return err
	}
	base := path.Base(name)
	target, isSymlink := e.Linkname, what == symlink
	if what == link {
		// Before what is there is removed: a name may be linked to itself.
		if target, isSymlink, err = r.link(i, clean(e.Linkname)); err != nil {
			return err
		}
	}
	if n := r.dirs.child(parent, base); n != 0 {
		r.dirs.remove(n)
	}
	if isSymlink {
		n, err := r.dirs.add(parent, base, target, true, i)
		if err != nil {
			return err
		}
		r.dirs.touch(n, i.layer())
	}
	r.dirs.touch(parent, i.layer())
	return r.events.add(parent, base, i, opPut, 0)
}

// link asks for what a hard link leads to. When that is a symbolic link, so is the name: where it leads is returned.
func (r *resolver) link(i id, to string) (target string, isSymlink bool, err error) {
	number := r.links.add(i, to)
	if to == "." {
		return "", false, nil
	}
	parent, followed, err := r.dirs.walk(path.Dir(to), nil)
	if err != nil {
		return "", false, err
	}
	if parent == 0 {
		r.waiting = append(r.waiting, number)
		return "", false, nil
	}
	r.links.at(number, parent, followed)
	if n := r.dirs.child(parent, path.Base(to)); n != 0 && r.dirs.nodes[n].symlink {
		at := &r.dirs.nodes[n]
		target, isSymlink = string(r.dirs.text[at.target:at.target+at.targetSize]), true
	}
	return target, isSymlink, r.events.add(parent, path.Base(to), i, opLink, uint32(number))
}

// later asks again, at the end of a layer, for hard links that came before the directory they lead into.
func (r *resolver) later() error {
	for _, number := range r.waiting {
		to := r.links.to(number)
		parent, followed, err := r.dirs.walk(path.Dir(to), nil)
		if err != nil {
			return err
		}
		if parent == 0 {
			continue // it leads to nothing
		}
		r.links.at(number, parent, followed)
		if err := r.events.add(parent, path.Base(to), r.links.all[number].entry, opLink, uint32(number)); err != nil {
			return err
		}
	}
	r.waiting = r.waiting[:0]
	return nil
}

// parent is the directory that an entry is in; those that are missing on the way there are made.
func (r *resolver) parent(i id, name string) (node, error) {
	at, followed, err := r.dirs.walk(path.Dir(name), func(parent node, name string) (node, error) {
		n, err := r.dirs.add(parent, name, "", false, 0)
		if err != nil {
			return 0, err
		}
		r.dirs.touch(n, i.layer())
		return n, r.events.add(parent, name, i, opImplied, 0)
	})
	if followed {
		r.moved[i] = at
	}
	return at, err
}

// bits is a set of small numbers.
type bits []uint64

func newBits(most uint32) bits       { return make(bits, most/64+1) }
func (b bits) set(n uint32)          { b[n/64] |= 1 << (n % 64) }
func (b bits) has(n uint32) bool     { return b[n/64]&(1<<(n%64)) != 0 }
func (o *outcome) isAlive(i id) bool { return i != 0 && o.alive[i.layer()].has(i.number()) }
