package iso9660

import "strings"

// maxVolumeID is the length of a volume's name in bytes (ECMA-119 §8.4.7).
const maxVolumeID = 32

// Types of volume descriptors (ECMA-119 §8.1.1).
const (
	bootDescriptor          = 0
	primaryDescriptor       = 1
	supplementaryDescriptor = 2
	terminator              = 255
)

// jolietLevel3 is the escape sequence of UCS-2 level 3 (ISO/IEC 10646; Joliet Specification, "Escape Sequences").
const jolietLevel3 = "%/E"

const (
	positionOfPrimary = systemArea
	standard          = "CD001"
	elTorito          = "EL TORITO SPECIFICATION"
	application       = "KILN"
)

// descriptorCount is how many volume descriptors there are.
func (w *writer) descriptorCount() int {
	if w.boots() {
		return 4
	}
	return 3
}

// descriptors are the volume descriptors, a sector each.
func (w *writer) descriptors() []byte {
	p := w.descriptor(w.primary)
	if w.boots() { // El Torito §2.0: it is in sector 17
		boot := make([]byte, Sector)
		boot[0], boot[6] = bootDescriptor, 1
		copy(boot[1:], standard)
		copy(boot[7:], elTorito)
		le.PutUint32(boot[71:], w.catalog)
		p = append(p, boot...)
	}
	p = append(p, w.descriptor(w.joliet)...)
	end := make([]byte, Sector)
	end[0], end[6] = terminator, 1
	copy(end[1:], standard)
	return append(p, end...)
}

// descriptor is the primary or the supplementary one (ECMA-119 §8.4 and §8.5).
func (w *writer) descriptor(v *volume) []byte {
	p := make([]byte, 0, Sector)
	zeros := func(n int) { p = append(p, make([]byte, n)...) }
	// text is s and spaces in n bytes.
	text := func(s string, n int) {
		if v.kind == joliet {
			s = jolietChars(s)
			s = s[:min(len(s), n&^1)]
			for len(s)+1 < n {
				s += "\x00 "
			}
			p = append(p, s...)
			zeros(n - len(s))
			return
		}
		p = append(p, s+strings.Repeat(" ", n-len(s))...)
	}
	root := v.dirs[0]
	if v.kind == joliet {
		p = append(p, supplementaryDescriptor)
	} else {
		p = append(p, primaryDescriptor)
	}
	p = append(p, standard...)
	p = append(p, 1, 0)
	text("LINUX", 32) // system
	text(w.o.VolumeID, maxVolumeID)
	zeros(8)
	p = both32(p, w.end)
	if v.kind == joliet {
		p = append(p, jolietLevel3...)
		zeros(32 - len(jolietLevel3))
	} else {
		zeros(32)
	}
	p = both16(p, 1) // volumes in the set
	p = both16(p, 1) // number of this one
	p = both16(p, Sector)
	p = both32(p, uint32(v.tableSize()))
	p = le.AppendUint32(p, v.tables)
	p = le.AppendUint32(p, 0) // no second table
	p = be.AppendUint32(p, v.tables+uint32(sectors(v.tableSize())))
	p = be.AppendUint32(p, 0)
	p = append(p, record{id: "\x00", lba: root.lba, size: root.size, flags: flagDirectory, time: root.node.ModTime}.encode(&continuation{})...)
	text("", 128) // volume set
	text("", 128) // publisher
	text("", 128) // who prepared the data
	text(application, 128)
	text("", 37) // copyright file
	text("", 37) // abstract file
	text("", 37) // bibliography file
	made := longTime(w.o.Time)
	p = append(p, made...)                                       // made
	p = append(p, made...)                                       // changed
	p = append(p, append([]byte(strings.Repeat("0", 16)), 0)...) // never obsolete
	p = append(p, append([]byte(strings.Repeat("0", 16)), 0)...) // of use at once
	p = append(p, 1, 0)                                          // version of the structure
	return append(p, make([]byte, Sector-len(p))...)
}
