package flat

import (
	"path"
	"slices"
	"sort"
)

// hardlinks are all hard links of all layers, in the order in which unpacking meets them.
type hardlinks struct {
	all   []hardlink
	names []byte
	// stolen has the files whose own name is gone, in the order of the entries that are files in their place.
	stolen []stolen
}

type hardlink struct {
	entry  id
	target id // what its target's name was when the link came: perhaps a link itself; 0 for nothing
	final  id // what that name is in the end; 0 for nothing
	file   id // the file that it is a name of; 0 when it leads nowhere
	first  id // the entry of that file's first name, in the order of the tree
	parent node
	name   uint32 // in names: the target, as the entry has it but clean
	size   uint32
	via    uint32 // the number of the link, perhaps this one, whose target is the file
	other  bool   // the target has another name than the entry says, because of symbolic links
}

// stolen: the entry first is the file now, whose headers and body are those of file.
type stolen struct{ first, file id }

func (h *hardlinks) add(entry id, to string) (number int) {
	h.all = append(h.all, hardlink{entry: entry, name: uint32(len(h.names)), size: uint32(len(to))})
	h.names = append(h.names, to...)
	return len(h.all) - 1
}

// at says in which directory the target is.
func (h *hardlinks) at(number int, parent node, other bool) {
	h.all[number].parent, h.all[number].other = parent, other
}

// to is the target's clean name, as the entry has it.
func (h *hardlinks) to(number int) string {
	l := &h.all[number]
	return string(h.names[l.name : l.name+l.size])
}

// path is the target's name in the tree.
func (h *hardlinks) path(d *dirs, number int) string {
	to := h.to(number)
	if l := &h.all[number]; l.other {
		return path.Join(d.path(l.parent), path.Base(to))
	}
	return to
}

// find is the number of the link with that entry; -1 for none.
func (h *hardlinks) find(entry id) int {
	at := sort.Search(len(h.all), func(n int) bool { return h.all[n].entry >= entry })
	if at < len(h.all) && h.all[at].entry == entry {
		return at
	}
	return -1
}

// settle says of which file each link is a name, and under which of its names each file is written.
func (h *hardlinks) settle(o *outcome) {
	for n := range h.all {
		h.resolve(n)
	}
	type name struct{ file, entry id }
	var names []name
	for n := range h.all {
		if l := &h.all[n]; l.file != 0 && o.isAlive(l.entry) {
			names = append(names, name{l.file, l.entry})
		}
	}
	slices.SortFunc(names, func(a, b name) int {
		if a.file != b.file {
			return compare(a.file, b.file)
		}
		return inTree(a.entry, b.entry)
	})
	first := func(file id) id {
		if o.isAlive(file) {
			return file
		}
		at := sort.Search(len(names), func(n int) bool { return names[n].file >= file })
		return names[at].entry
	}
	for n := range h.all {
		l := &h.all[n]
		if l.file == 0 || !o.isAlive(l.entry) {
			continue
		}
		if l.first = first(l.file); l.first == l.entry {
			h.stolen = append(h.stolen, stolen{l.entry, l.file})
		}
	}
	slices.SortFunc(h.stolen, func(a, b stolen) int { return inTree(a.first, b.first) })
}

// resolve follows links to links.
func (h *hardlinks) resolve(number int) {
	const maxHops = 255 // links lead back in time, unless somebody means harm
	at := number
	for range maxHops {
		target := h.all[at].target
		if target == 0 {
			return
		}
		next := h.find(target)
		switch {
		case next < 0:
			h.all[number].file, h.all[number].via = target, uint32(at)
			return
		case h.all[next].file != 0: // known already
			h.all[number].file, h.all[number].via = h.all[next].file, h.all[next].via
			return
		}
		at = next
	}
}

// keeps says that the link can stay as it is: the name that it leads to is one of the same file's, and was before it. In
// the tree that name comes later when it is a lower layer's, as it does in LinuxKit's tar.
func (h *hardlinks) keeps(number int) bool {
	l := &h.all[number]
	if l.final == l.file {
		return true
	}
	if l.final == 0 || l.final >= l.entry {
		return false
	}
	other := h.find(l.final)
	return other >= 0 && h.all[other].file == l.file
}

func compare(a, b id) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// inTree compares entries by their order in the tree: the highest layer first.
func inTree(a, b id) int {
	if a.layer() != b.layer() {
		return b.layer() - a.layer()
	}
	return compare(a, b)
}
