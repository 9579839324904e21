package iso9660

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
	"github.com/kiln-farm/kiln/image/tree"
)

// reader reads an ISO by the standards, and complains about what they forbid.
type reader struct {
	t      testing.TB
	p      []byte
	joliet bool
	nodes  map[uint32]*fstree.Node // by serial number
}

// descriptorAt is the sector with a volume descriptor of that type.
func (r *reader) descriptorAt(kind byte) []byte {
	for at := systemArea * Sector; ; at += Sector {
		d := r.p[at : at+Sector]
		if string(d[1:6]) != "CD001" || d[0] == 255 {
			r.t.Fatalf("no volume descriptor %d", kind)
		}
		if d[0] == kind {
			return d
		}
	}
}

// read makes a tree of what an ISO holds; of Joliet's with names, types and contents only.
func read(t testing.TB, p []byte, joliet bool) *fstree.Node {
	t.Helper()
	r := &reader{t: t, p: p, joliet: joliet, nodes: map[uint32]*fstree.Node{}}
	kind := byte(1)
	if joliet {
		kind = 2
	}
	d := r.descriptorAt(kind)
	if got := int(r.both32(d[80:])) * Sector; got != len(p) {
		t.Errorf("the volume has %d bytes, want %d", got, len(p))
	}
	root := &fstree.Node{Type: tar.TypeDir}
	record := d[156:190]
	directories := r.directory(root, r.both32(record[2:]), r.both32(record[10:]))
	r.tables(d, directories)
	finish(root)
	return root
}

func (r *reader) both32(p []byte) uint32 {
	if binary.LittleEndian.Uint32(p) != binary.BigEndian.Uint32(p[4:]) {
		r.t.Errorf("%x is not the same number twice", p[:8])
	}
	return binary.LittleEndian.Uint32(p)
}

// directory reads what is in one, and returns how many directories it is with those below.
func (r *reader) directory(n *fstree.Node, lba, size uint32) int {
	count, last, more := 1, "", tree.Body{}
	data := r.p[int(lba)*Sector:][:size]
	for number, at := 0, 0; at < len(data); number++ {
		length := int(data[at])
		if length == 0 { // nothing more in this sector
			at = (at/Sector + 1) * Sector
			continue
		}
		if at/Sector != (at+length-1)/Sector || length%2 != 0 {
			r.t.Fatalf("a record of %d bytes at %d", length, at)
		}
		p := data[at : at+length]
		at += length
		id := string(p[33 : 33+p[32]])
		system := p[33+int(p[32])+(int(p[32])+1)%2:]
		if number < 2 {
			if id != string(rune(number)) {
				r.t.Errorf("record %d is %q", number, id)
			}
			if number == 0 && !r.joliet {
				r.attributes(n, system, number == 0)
			}
			continue
		}
		id = strings.TrimSuffix(strings.TrimSuffix(id, ";1"), "\x00;\x001")
		if id < last || id == last && more.Inline == nil {
			r.t.Errorf("%q comes after %q", id, last)
		}
		last = id
		start, length32 := r.both32(p[2:]), r.both32(p[10:])
		if p[25]&flagDirectory != 0 {
			child := &fstree.Node{Type: tar.TypeDir}
			n.Children = append(n.Children, fstree.Child{Name: r.name(id, child, system), Node: child})
			count += r.directory(child, start, length32)
			continue
		}
		more.Inline = append(more.Inline, r.p[int(start)*Sector:][:length32]...)
		if more.Size = int64(len(more.Inline)); p[25]&flagMore != 0 {
			continue
		}
		child := &fstree.Node{Type: tar.TypeReg, Body: more}
		name := r.name(id, child, system)
		if !r.joliet {
			serial := r.both32(find(system, "PX")[36:])
			if known := r.nodes[serial]; known != nil {
				child = known
			}
			r.nodes[serial] = child
		}
		n.Children = append(n.Children, fstree.Child{Name: name, Node: child})
		more = tree.Body{}
	}
	return count
}

// tables checks that the path tables have that many directories, and parents before children.
func (r *reader) tables(d []byte, directories int) {
	size := int(r.both32(d[132:]))
	for at, order := range map[int]binary.ByteOrder{140: binary.LittleEndian, 148: binary.BigEndian} {
		p := r.p[int(order.Uint32(d[at:]))*Sector:][:size]
		number, last := 1, uint16(1)
		for ; len(p) > 0; number++ {
			length := int(p[0])
			id, parent, self := string(p[8:8+length]), order.Uint16(p[6:]), r.p[int(order.Uint32(p[2:]))*Sector:]
			if self[33] != 0 || r.both32(self[2:]) != order.Uint32(p[2:]) {
				r.t.Errorf("directory %d (%q) is not where the path table says", number, id)
			}
			if parent < last || int(parent) > number || int(parent) == number && number > 1 {
				r.t.Errorf("directory %d (%q) has parent %d after %d", number, id, parent, last)
			}
			last = parent
			p = p[8+length+length%2:]
		}
		if number-1 != directories {
			r.t.Errorf("%d directories in the path table, want %d", number-1, directories)
		}
	}
}

// name is an entry's, whose attributes go to n.
func (r *reader) name(id string, n *fstree.Node, system []byte) string {
	if !r.joliet {
		return r.attributes(n, system, false)
	}
	var units []uint16
	for at := 0; at < len(id); at += 2 {
		units = append(units, binary.BigEndian.Uint16([]byte(id[at:])))
	}
	return string(utf16.Decode(units))
}

// entries are those of a system use field and its continuations.
func (r *reader) entries(system []byte) [][]byte {
	var out [][]byte
	for len(system) >= 4 {
		e := system[:system[2]]
		system = system[system[2]:]
		if string(e[:2]) != "CE" {
			out = append(out, e)
			continue
		}
		off, size := r.both32(e[12:]), r.both32(e[20:])
		if off+size > Sector || len(system) > 1 {
			r.t.Errorf("%d bytes of a continuation area at %d; %d bytes after its pointer", size, off, len(system))
		}
		system = r.p[int(r.both32(e[4:]))*Sector+int(off):][:size]
	}
	return out
}

func find(system []byte, signature string) []byte {
	return system[bytes.Index(system, []byte(signature)):]
}

// attributes reads Rock Ridge's entries into n and returns the name.
func (r *reader) attributes(n *fstree.Node, system []byte, self bool) string {
	name, part, slash := "", "", false
	for _, e := range r.entries(system) {
		switch string(e[:2]) {
		case "PX":
			mode := r.both32(e[4:])
			for kind, bits := range typeBits {
				if mode&0o170000 == bits {
					n.Type = kind
				}
			}
			n.Mode, n.UID, n.GID = mode&0o7777, r.both32(e[20:]), r.both32(e[28:])
		case "TF":
			n.ModTime = time.Date(1900+int(e[5]), time.Month(e[6]), int(e[7]), int(e[8]), int(e[9]), int(e[10]), 0, time.UTC)
		case "PN":
			n.Major, n.Minor = r.both32(e[4:]), r.both32(e[12:])
			if n.Major == 0 { // as Linux has it
				n.Major, n.Minor = n.Minor>>8, n.Minor&0xff
			}
		case "NM":
			name += string(e[5:])
		case "SL":
			for p := e[5:]; len(p) > 0; p = p[2+p[1]:] {
				text := string(p[2 : 2+p[1]])
				switch p[0] &^ flagContinue {
				case flagCurrent:
					text = "."
				case flagParent:
					text = ".."
				case flagRoot:
					part, slash = "/", false
					continue
				}
				if slash {
					part += "/"
				}
				part += text
				slash = p[0]&flagContinue == 0
			}
			n.Linkname = part
		}
	}
	if name == "" != self {
		r.t.Errorf("the name is %q", name)
	}
	return name
}

// finish sorts directories and counts links, as fstree has them.
func finish(dir *fstree.Node) {
	slices.SortFunc(dir.Children, func(a, b fstree.Child) int { return strings.Compare(a.Name, b.Name) })
	dir.Links = 2
	for _, c := range dir.Children {
		c.Node.Links++
		if c.Node.Type == tar.TypeDir {
			dir.Links++
			finish(c.Node)
		}
	}
}

func TestTheTreeIsReadBack(t *testing.T) {
	s := fstreetest.New(t)
	root := everything(s)
	var p bytes.Buffer
	s.Copy(&p, build(t, root, Options{}).Artifact())
	all := fstreetest.Aspects{NoXattrs: true, DirLinks: true}
	fstreetest.Compare(t, s.OfTree(read(t, p.Bytes(), false), all), s.OfTree(root, all))

	got := s.OfTree(read(t, p.Bytes(), true), aspects)
	for _, want := range []string{"ünïcödé — 文件 _", "deep/level0/level1/file", "etc/sector", strings.Repeat("n", 103), strings.Repeat("n", 101) + "_B"} {
		if got[want] == "" {
			t.Errorf("no %s in Joliet", want)
		}
	}
	if want := s.OfTree(root, aspects); len(got) != len(want)-19 {
		t.Errorf("%d names in Joliet, want %d less 14 links, 4 devices and a FIFO", len(got), len(want))
	}
}
