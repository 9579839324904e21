package iso9660

import (
	"archive/tar"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/image/fstree"
)

// Lengths of entries of the system use field in bytes (SUSP 1.12 §4.1: one byte says it).
const (
	maxEntryLen      = 255
	nameHeaderLen    = 5
	continueLen      = 28
	maxNamePart      = maxEntryLen - nameHeaderLen
	componentHeadLen = 2
)

const (
	// flagContinue says of a name, a link or a part of one that it goes on in the next.
	flagContinue = 1
	// Parts of a link that are no names (IEEE P1282 §4.1.3).
	flagCurrent = 1 << 1
	flagParent  = 1 << 2
	flagRoot    = 1 << 3

	timeModify = 1 << 1 // IEEE P1282 §4.1.6

	suspVersion = 1
)

// Types of files in POSIX modes (IEEE P1282 §4.1.1).
var typeBits = map[byte]uint32{
	tar.TypeReg: 0o100000, tar.TypeDir: 0o040000, tar.TypeSymlink: 0o120000,
	tar.TypeChar: 0o020000, tar.TypeBlock: 0o060000, tar.TypeFifo: 0o010000,
}

// suspEntry is an entry of the system use field (SUSP §4.1).
func suspEntry(signature string, data ...byte) []byte {
	return append([]byte{signature[0], signature[1], byte(4 + len(data)), suspVersion}, data...)
}

// sharingProtocol says that there are such entries (SUSP §5.3); it is the first one of the root.
func sharingProtocol() []byte { return suspEntry("SP", 0xbe, 0xef, 0) }

// extensionReference says that they are Rock Ridge's (SUSP §5.5, IEEE P1282 §4.3, where the texts are from).
func extensionReference() []byte {
	const (
		id          = "IEEE_P1282"
		description = "THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS"
		source      = "PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 SPECIFICATION."
	)
	data := []byte{byte(len(id)), byte(len(description)), byte(len(source)), 1}
	return suspEntry("ER", append(data, id+description+source...)...)
}

// attributes are mode, links, owner, serial number and time of a node, and a device's numbers (IEEE P1282 §4.1).
func (w *writer) attributes(n *fstree.Node, links uint32) [][]byte {
	var p []byte
	for _, field := range []uint32{typeBits[n.Type] | n.Mode&0o7777, links, n.UID, n.GID, w.files[n].serial} {
		p = both32(p, field)
	}
	out := [][]byte{suspEntry("PX", p...), suspEntry("TF", append([]byte{timeModify}, shortTime(n.ModTime)...)...)}
	if n.Type == tar.TypeChar || n.Type == tar.TypeBlock {
		high, low, _ := device(n.Major, n.Minor)
		out = append(out, suspEntry("PN", both32(both32(nil, high), low)...))
	}
	return out
}

// device are the two numbers of a device as all readers take them: Linux takes the high one for the major number, unless it
// is zero and the low one holds both; libisofs takes both together for a dev_t. A large minor number of major 0
// cannot be said (fs/isofs/rock.c, parse_rock_ridge_inode_internal).
func device(major, minor uint32) (high, low uint32, ok bool) {
	if minor <= 0xff {
		return 0, major<<8 | minor, major < 1<<24
	}
	return major, minor, major != 0
}

// alternateName is the POSIX name (IEEE P1282 §4.1.4).
func alternateName(name string) [][]byte {
	var out [][]byte
	for {
		n := min(len(name), maxNamePart)
		var flags byte
		if n < len(name) {
			flags = flagContinue
		}
		out = append(out, suspEntry("NM", append([]byte{flags}, name[:n]...)...))
		if name = name[n:]; name == "" {
			return out
		}
	}
}

// symlink is where a link leads, in parts between the slashes (IEEE P1282 §4.1.3). An empty part is one, too: readers put
// a slash after it, which gives "a//b" and "a/" back.
func symlink(target string) [][]byte {
	var out [][]byte
	data := []byte{flagContinue}
	flush := func() {
		out = append(out, suspEntry("SL", data...))
		data = []byte{flagContinue}
	}
	add := func(flags byte, text string) {
		for {
			if len(data)-1+componentHeadLen+min(len(text), 1) > maxNamePart {
				flush()
			}
			n := min(len(text), maxNamePart-(len(data)-1)-componentHeadLen)
			more := byte(0)
			if n < len(text) {
				more = flagContinue
			}
			data = append(append(data, flags|more, byte(n)), text[:n]...)
			if text = text[n:]; text == "" {
				return
			}
		}
	}
	if target == "/" {
		add(flagRoot, "")
		target = ""
	} else if after, ok := strings.CutPrefix(target, "/"); ok {
		add(flagRoot, "")
		target = after
	}
	if target != "" {
		for part := range strings.SplitSeq(target, "/") {
			switch part {
			case ".":
				add(flagCurrent, "")
			case "..":
				add(flagParent, "")
			default:
				add(0, part)
			}
		}
	}
	data[0] = 0
	return append(out, suspEntry("SL", data...))
}

// continuation gathers the entries of a directory's records that did not fit into them (SUSP §5.1).
type continuation struct {
	at   uint32 // position of the area
	area []byte
}

// fit is what of the entries goes into room bytes; with a pointer to the rest, when there is one.
func (c *continuation) fit(entries [][]byte, room int) []byte {
	here, rest := cut(entries, room)
	out := slices.Concat(here...)
	if len(rest) > 0 {
		out = append(out, c.place(rest)...)
	}
	return out
}

// place puts entries into the area and returns the pointer to them. Linux wants the entries that a pointer leads to within one sector.
func (c *continuation) place(entries [][]byte) []byte {
	left := Sector - len(c.area)%Sector
	if length(entries) > left {
		c.area = append(c.area, make([]byte, left%Sector)...)
		left = Sector
	}
	here, rest := cut(entries, left)
	offset, size := len(c.area), length(here)
	for _, e := range here {
		c.area = append(c.area, e...)
	}
	if len(rest) > 0 {
		pointer := len(c.area)
		c.area = append(c.area, make([]byte, continueLen)...)
		size += continueLen
		next := c.place(rest)
		copy(c.area[pointer:], next)
	}
	p := both32(nil, c.at+uint32(offset/Sector))
	p = both32(p, uint32(offset%Sector))
	return suspEntry("CE", both32(p, uint32(size))...)
}

// cut splits entries so that the first part, and a pointer if there is a second, fits into room bytes.
func cut(entries [][]byte, room int) (here, rest [][]byte) {
	if length(entries) <= room {
		return entries, nil
	}
	used := continueLen
	for i, e := range entries {
		if used += len(e); used > room {
			return entries[:i], entries[i:]
		}
	}
	return entries, nil
}

func length(entries [][]byte) int {
	n := 0
	for _, e := range entries {
		n += len(e)
	}
	return n
}
