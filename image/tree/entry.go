package tree

import (
	"time"

	"github.com/kiln-farm/kiln/cache"
)

// Entry is one file, directory, link or device. Fields mean what they mean in archive/tar; PAX holds the records of
// the entry's header: xattrs and the like, and those that repeat a field, as archive/tar takes them.
type Entry struct {
	Name, Linkname     string
	Type               byte // tar.TypeReg, ...
	Mode               int64
	UID, GID           int
	Uname, Gname       string
	ModTime            time.Time
	AccessTime         time.Time
	ChangeTime         time.Time
	Devmajor, Devminor int64
	PAX                map[string]string
	Body               Body
}

// Body is where a regular file's bytes are: inline when Inline is not nil, else Size bytes of Blob from Offset.
type Body struct {
	Size   int64
	Blob   cache.Digest
	Offset int64
	Inline []byte
}
