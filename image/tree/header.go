package tree

import (
	"archive/tar"
	"fmt"
	"maps"
	"strings"
)

// PAX records that LinuxKit gives to every entry (moby/const.go): where in the configuration it comes from.
const (
	RecordSource   = "LINUXKIT.source"
	RecordLocation = "LINUXKIT.location"
)

// sparseRecords start the records that say where the holes of a sparse file are; archive/tar fills them with zeros.
const sparseRecords = "GNU.sparse."

// FromHeader takes over everything of a header but where its body is. Types that are no files are an error, but for a
// global header (POSIX.1-2017 pax), which LinuxKit passes on.
//
// Records that repeat a field are kept: archive/tar writes such a record again when it says the same as its field.
// LinuxKit's own are dropped, because every build writes them anew.
func FromHeader(h *tar.Header) (*Entry, error) {
	e := &Entry{
		Name: h.Name, Linkname: h.Linkname, Type: h.Typeflag, Mode: h.Mode, UID: h.Uid, GID: h.Gid, Uname: h.Uname, Gname: h.Gname,
		ModTime: h.ModTime, AccessTime: h.AccessTime, ChangeTime: h.ChangeTime, Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo, tar.TypeXGlobalHeader:
	case 0, tar.TypeCont, tar.TypeGNUSparse:
		e.Type = tar.TypeReg
	default:
		return nil, fmt.Errorf("entry %q has the unknown type %q", h.Name, h.Typeflag)
	}
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, sparseRecords) || k == RecordSource || k == RecordLocation {
			continue
		}
		if e.PAX == nil {
			e.PAX = map[string]string{}
		}
		e.PAX[k] = v
	}
	return e, nil
}

// Header is the entry as archive/tar writes it, in PAX format as LinuxKit does, with the given records beside its own.
func (e *Entry) Header(records map[string]string) *tar.Header {
	h := &tar.Header{Name: e.Name, Typeflag: e.Type, Format: tar.FormatPAX}
	if e.Type != tar.TypeXGlobalHeader { // which has nothing but records
		h.Linkname, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname = e.Linkname, e.Mode, e.UID, e.GID, e.Uname, e.Gname
		h.ModTime, h.AccessTime, h.ChangeTime = e.ModTime, e.AccessTime, e.ChangeTime
		h.Devmajor, h.Devminor, h.Size = e.Devmajor, e.Devminor, e.Body.Size
	}
	if len(records)+len(e.PAX) > 0 {
		h.PAXRecords = make(map[string]string, len(records)+len(e.PAX))
		maps.Copy(h.PAXRecords, records)
		maps.Copy(h.PAXRecords, e.PAX)
	}
	return h
}
