package tree

import (
	"archive/tar"
	"fmt"
	"maps"
	"strings"
)

// derived are the PAX records that archive/tar writes from other fields (POSIX.1-2017 pax, Extended Header).
var derived = map[string]bool{
	"path": true, "linkpath": true, "size": true, "uid": true, "gid": true,
	"uname": true, "gname": true, "mtime": true, "atime": true, "ctime": true,
}

// FromHeader takes over everything of a header but where its body is. Types that are no files are an error.
func FromHeader(h *tar.Header) (*Entry, error) {
	e := &Entry{
		Name: h.Name, Linkname: h.Linkname, Type: h.Typeflag, Mode: h.Mode, UID: h.Uid, GID: h.Gid, Uname: h.Uname, Gname: h.Gname,
		ModTime: h.ModTime, AccessTime: h.AccessTime, ChangeTime: h.ChangeTime, Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
	case 0, tar.TypeCont, tar.TypeGNUSparse:
		e.Type = tar.TypeReg
	default:
		return nil, fmt.Errorf("entry %q has the unknown type %q", h.Name, h.Typeflag)
	}
	for k, v := range h.PAXRecords {
		if derived[k] || strings.HasPrefix(k, "GNU.sparse.") {
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
	h := &tar.Header{
		Name: e.Name, Linkname: e.Linkname, Typeflag: e.Type, Mode: e.Mode, Uid: e.UID, Gid: e.GID, Uname: e.Uname, Gname: e.Gname,
		ModTime: e.ModTime, AccessTime: e.AccessTime, ChangeTime: e.ChangeTime, Devmajor: e.Devmajor, Devminor: e.Devminor,
		Size: e.Body.Size, Format: tar.FormatPAX,
	}
	if len(records)+len(e.PAX) > 0 {
		h.PAXRecords = maps.Clone(records)
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		maps.Copy(h.PAXRecords, e.PAX)
	}
	return h
}
