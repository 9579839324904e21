package iso9660

import (
	"archive/tar"
	"time"
)

// Lengths of a directory record in bytes (ECMA-119 §9.1). They are even, so the longest has 254.
const (
	recordLen    = 33 // without the identifier
	maxRecordLen = 254
)

// File flags (ECMA-119 §9.1.6).
const (
	flagDirectory = 1 << 1
	flagMore      = 1 << 7 // the file goes on in the next record
)

// encode are a directory's records, in whole sectors, and what belongs to them but did not fit. Before anything has its
// place the lengths are right already.
func (w *writer) encode(v *volume, d *directory) (records, more []byte) {
	rest := &continuation{at: d.more}
	add := func(r record) {
		p := r.encode(rest)
		if left := Sector - len(records)%Sector; len(p) > left {
			records = append(records, make([]byte, left)...) // ECMA-119 §6.8.1.1: a record is within a sector
		}
		records = append(records, p...)
	}
	self := record{id: "\x00", lba: d.lba, size: d.size, flags: flagDirectory, time: d.node.ModTime}
	parent := record{id: "\x01", lba: d.parent.lba, size: d.parent.size, flags: flagDirectory, time: d.parent.node.ModTime}
	if v.kind == rockRidge {
		self.system = w.attributes(d.node, d.links)
		if d.parent == d {
			self.system = append(append([][]byte{sharingProtocol()}, self.system...), extensionReference())
		}
		parent.system = w.attributes(d.parent.node, d.parent.links)
	}
	add(self)
	add(parent)
	for _, e := range d.entries {
		for _, r := range w.recordsOf(v, e) {
			add(r)
		}
	}
	return append(records, make([]byte, (Sector-len(records)%Sector)%Sector)...), rest.area
}

// recordsOf are the records of an entry: one, or as many as its file has sections.
func (w *writer) recordsOf(v *volume, e entry) []record {
	r := record{id: e.id, time: e.node.ModTime}
	links := max(e.node.Links, 1)
	if e.dir != nil {
		r.lba, r.size, r.flags = e.dir.lba, e.dir.size, flagDirectory
		links = e.dir.links
	} else if r.id += version; v.kind == joliet {
		r.id = e.id + ucs2(version)
	}
	if v.kind == rockRidge {
		r.system = append(w.attributes(e.node, links), alternateName(e.name)...)
		if e.node.Type == tar.TypeSymlink {
			r.system = append(r.system, symlink(e.node.Linkname)...)
		}
	}
	f := w.files[e.node]
	if e.dir != nil || f.content == nil || f.content.Size() == 0 {
		return []record{r}
	}
	var out []record
	for at, size := int64(0), f.content.Size(); at < size; at += maxSection {
		r.lba, r.size, r.flags = f.lba+uint32(at/Sector), uint32(min(size-at, maxSection)), flagMore
		out = append(out, r)
	}
	out[len(out)-1].flags = 0
	return out
}

// record is a directory record.
type record struct {
	id        string
	lba, size uint32
	flags     byte
	time      time.Time
	system    [][]byte // entries of the system use field
}

// encode is the record; entries of the system use field that do not fit go to rest.
func (r record) encode(rest *continuation) []byte {
	p := make([]byte, 0, maxRecordLen)
	p = append(p, 0, 0)
	p = both32(p, r.lba)
	p = both32(p, r.size)
	p = append(p, shortTime(r.time)...)
	p = append(p, r.flags, 0, 0)
	p = both16(p, 1) // of one volume
	p = append(p, byte(len(r.id)))
	p = append(p, r.id...)
	p = append(p, make([]byte, len(p)%2)...)
	p = append(p, rest.fit(r.system, maxRecordLen-len(p))...)
	p = append(p, make([]byte, len(p)%2)...)
	p[0] = byte(len(p))
	return p
}

// both16 and both32 append a number in both byte orders (ECMA-119 §7.2.3 and §7.3.3).
func both16(p []byte, n uint16) []byte { return be.AppendUint16(le.AppendUint16(p, n), n) }
func both32(p []byte, n uint32) []byte { return be.AppendUint32(le.AppendUint32(p, n), n) }

// Times that the short form can say.
var (
	firstTime = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(2155, 12, 31, 23, 59, 59, 0, time.UTC)
)

// shortTime is a time to the second (ECMA-119 §9.1.5); what is before 1900 or after 2155 becomes the nearest that can be said.
func shortTime(t time.Time) []byte {
	t = t.UTC()
	if t.Before(firstTime) {
		t = firstTime
	} else if t.After(lastTime) {
		t = lastTime
	}
	return []byte{byte(t.Year() - 1900), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()), 0}
}

// longTime is a time of a volume (ECMA-119 §8.4.26.1).
func longTime(t time.Time) []byte { return append([]byte(t.UTC().Format("20060102150405")+"00"), 0) }
