package fat

import (
	"encoding/binary"
	"unicode/utf16"

	"github.com/kiln-farm/kiln/image/extents"
)

// Every file and directory was made 2017-04-18 16:30:00 ("Date and Time Formats" in the specification).
const (
	fixedDate = (2017-1980)<<9 | 4<<5 | 18
	fixedTime = 16<<11 | 30<<5
)

// Attributes of directory entries.
const (
	attrLabel     = 0x08
	attrDirectory = 0x10
	attrArchive   = 0x20
	attrLongName  = 0x0f
)

const (
	media = 0xf8 // a fixed disk
	// Sectors per track and heads as a BIOS reports them for disks of 8 GiB and more. Loaders ask the BIOS.
	sectorsPerTrack = 63
	heads           = 255

	infoSector   = 1 // of FSInfo
	backupSector = 6 // of the copies of boot sector and FSInfo
	codeWide     = 90
	codeEnd      = 510
)

// handOver is the code of a volume that nothing starts from: int 18h, the firmware's next choice, and halt after that.
var handOver = []byte{0xcd, 0x18, 0xf4, 0xeb, 0xfd}

// writer writes a tree that has its places.
type writer struct {
	g     *geometry
	opts  Options
	label shortName
	tree  *tree
}

func (w *writer) image() (*Image, error) {
	list, size := &extents.List{}, w.g.sectors*Sector
	list.Bytes(w.bootSector())
	if w.g.typ == FAT32 {
		list.Bytes(w.info())
		list.Zeros((backupSector - 2) * Sector)
		list.Bytes(w.bootSector())
		list.Bytes(w.info())
	}
	if err := list.To(w.g.reserved * Sector); err != nil {
		return nil, err
	}
	table := w.table()
	for range tables {
		list.Bytes(table)
		list.Zeros(w.g.tableSectors*Sector - int64(len(table)))
	}
	img := &Image{List: list, Type: w.g.typ, offsets: make(map[string]int64, len(w.tree.files))}
	for _, d := range w.tree.dirs {
		if d.cluster > 0 {
			if err := list.To(w.g.offset(d.cluster)); err != nil {
				return nil, err
			}
		}
		list.Bytes(w.directory(d))
	}
	for _, f := range w.tree.files {
		if f.cluster == 0 {
			continue
		}
		if err := list.To(w.g.offset(f.cluster)); err != nil {
			return nil, err
		}
		img.offsets[fold(f.path)] = list.Size()
		list.Append(f.content)
	}
	return img, list.To(size)
}

// bootSector is the parameter block of the volume ("Boot Sector and BPB" in the specification) and a loader's code.
func (w *writer) bootSector() []byte {
	b := make([]byte, Sector)
	code, wide := 62, w.g.typ == FAT32
	if wide {
		code = codeWide
	}
	b[0], b[1], b[2] = 0xeb, byte(code-2), 0x90
	copy(b[3:], "MSWIN4.1")
	if boot := w.opts.BootSector; boot != nil {
		copy(b[:11], boot)
		copy(b[codeWide:codeEnd], boot[codeWide:])
	} else {
		copy(b[code:], handOver)
	}
	le := binary.LittleEndian
	le.PutUint16(b[11:], Sector)
	b[13] = byte(w.g.sectorsPerCluster)
	le.PutUint16(b[14:], uint16(w.g.reserved))
	b[16] = tables
	le.PutUint16(b[17:], uint16(w.g.rootSectors*Sector/entrySize))
	if w.g.sectors < 1<<16 && !wide {
		le.PutUint16(b[19:], uint16(w.g.sectors))
	} else {
		le.PutUint32(b[32:], uint32(w.g.sectors))
	}
	b[21] = media
	le.PutUint16(b[24:], sectorsPerTrack)
	le.PutUint16(b[26:], heads)
	le.PutUint32(b[28:], w.opts.Hidden)
	extended := b[36:]
	if wide {
		le.PutUint32(b[36:], uint32(w.g.tableSectors))
		le.PutUint32(b[44:], uint32(w.tree.root.cluster))
		le.PutUint16(b[48:], infoSector)
		le.PutUint16(b[50:], backupSector)
		extended = b[64:]
	} else {
		le.PutUint16(b[22:], uint16(w.g.tableSectors))
	}
	extended[0] = 0x80 // the first fixed disk
	extended[2] = 0x29 // the three fields below are there
	le.PutUint32(extended[3:], w.opts.VolumeID)
	if w.label == blankLabel {
		copy(extended[7:], "NO NAME    ")
	} else {
		copy(extended[7:], w.label[:])
	}
	copy(extended[18:], "FAT"+w.g.typ.String()+"   ")
	b[510], b[511] = 0x55, 0xaa
	return b
}

// info is the FSInfo sector: how many clusters are free, and where to look for them.
func (w *writer) info() []byte {
	b := make([]byte, Sector)
	le := binary.LittleEndian
	le.PutUint32(b, 0x41615252)
	le.PutUint32(b[484:], 0x61417272)
	le.PutUint32(b[488:], uint32(w.g.clusters-w.tree.used))
	le.PutUint32(b[492:], uint32(min(w.tree.used+2, w.g.clusters+1)))
	le.PutUint32(b[508:], 0xaa550000)
	return b
}

// table is one file allocation table, without the zeros of the free clusters after the last used one.
func (w *writer) table() []byte {
	entries := w.tree.used + 2
	b := make([]byte, (entries*int64(w.g.typ)+7)/8)
	end := uint32(1)<<min(w.g.typ, 28) - 1
	w.set(b, 0, end&^0xff|media)
	w.set(b, 1, end)
	for _, nodes := range [][]*node{w.tree.dirs, w.tree.files} {
		for _, n := range nodes {
			for i := range n.count - 1 {
				w.set(b, n.cluster+i, uint32(n.cluster+i+1))
			}
			if n.count > 0 {
				w.set(b, n.cluster+n.count-1, end)
			}
		}
	}
	return b
}

func (w *writer) set(table []byte, cluster int64, value uint32) {
	switch w.g.typ {
	case FAT32:
		binary.LittleEndian.PutUint32(table[cluster*4:], value)
	case FAT16:
		binary.LittleEndian.PutUint16(table[cluster*2:], uint16(value))
	default: // two entries in three bytes
		at := cluster * 3 / 2
		if cluster%2 == 0 {
			table[at] = byte(value)
			table[at+1] |= byte(value >> 8)
		} else {
			table[at] |= byte(value << 4)
			table[at+1] = byte(value >> 4)
		}
	}
}

// directory is a directory's entries; zeros after them end it.
func (w *writer) directory(d *node) []byte {
	b := make([]byte, 0, d.size())
	if d == w.tree.root {
		if w.label != blankLabel {
			b = appendEntry(b, w.label, attrLabel, 0, 0)
		}
	} else {
		b = appendEntry(b, shortName([]byte(".          ")), attrDirectory, d.cluster, 0)
		parent := d.parent.cluster
		if d.parent == w.tree.root {
			parent = 0 // also in FAT32
		}
		b = appendEntry(b, shortName([]byte("..         ")), attrDirectory, parent, 0)
	}
	for _, n := range d.children {
		b = appendLong(b, n)
		if n.dir {
			b = appendEntry(b, n.short, attrDirectory, n.cluster, 0)
		} else {
			b = appendEntry(b, n.short, attrArchive, n.cluster, n.content.Size())
		}
	}
	return b
}

func appendEntry(b []byte, name shortName, attr byte, cluster, size int64) []byte {
	var e [entrySize]byte
	le := binary.LittleEndian
	copy(e[:], name[:])
	e[11] = attr
	if attr != attrLabel { // a label has the time of its writing alone
		le.PutUint16(e[14:], fixedTime)
		le.PutUint16(e[16:], fixedDate)
		le.PutUint16(e[18:], fixedDate)
	}
	le.PutUint16(e[20:], uint16(cluster>>16))
	le.PutUint16(e[22:], fixedTime)
	le.PutUint16(e[24:], fixedDate)
	le.PutUint16(e[26:], uint16(cluster))
	le.PutUint32(e[28:], uint32(size))
	return append(b, e[:]...)
}

// longPlaces are where the 13 characters of a long name's entry lie.
var longPlaces = [unitsPer]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}

// appendLong writes a long name, the last part of it first ("Long Directory Entries" in the specification).
func appendLong(b []byte, n *node) []byte {
	parts := n.longEntries()
	units := utf16.Encode([]rune(n.name))
	sum := n.short.checksum()
	for i := parts - 1; i >= 0; i-- {
		var e [entrySize]byte
		e[0] = byte(i + 1)
		if i == parts-1 {
			e[0] |= 0x40
		}
		e[11], e[13] = attrLongName, sum
		for j, at := range longPlaces {
			unit := uint16(0xffff)
			if k := i*unitsPer + j; k < len(units) {
				unit = units[k]
			} else if k == len(units) {
				unit = 0
			}
			binary.LittleEndian.PutUint16(e[at:], unit)
		}
		b = append(b, e[:]...)
	}
	return b
}
