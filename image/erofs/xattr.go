package erofs

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/kiln-farm/kiln/image/fstree"
)

// prefixes of xattrs that the format has a number for (EROFS_XATTR_INDEX_USER and following); a whole name is one, too.
var prefixes = []struct {
	prefix string
	whole  bool
	number byte
}{
	{"user.", false, 1}, {"system.posix_acl_access", true, 2}, {"system.posix_acl_default", true, 3},
	{"trusted.", false, 4}, {"security.", false, 6},
}

const (
	xattrHead = 12                 // struct erofs_xattr_ibody_header
	maxXattrs = 4 * math.MaxUint16 // bytes after the head that i_xattr_icount can tell
)

// encodeXattrs is what follows an inode: the head and an entry for each; nil for none. Refused are those that the format
// cannot hold.
func encodeXattrs(list []fstree.Xattr) (b []byte, refused []string) {
	for _, x := range list {
		number, name := split(x.Name)
		if number == 0 || len(name) > math.MaxUint8 || len(x.Value) > math.MaxUint16 || len(b)+len(name)+len(x.Value)+2*xattrHead > maxXattrs {
			refused = append(refused, x.Name)
			continue
		}
		if b == nil {
			b = make([]byte, xattrHead)
		}
		b = append(b, byte(len(name)), number) // struct erofs_xattr_entry
		b = binary.LittleEndian.AppendUint16(b, uint16(len(x.Value)))
		b = append(append(b, name...), x.Value...)
		b = append(b, make([]byte, (4-len(b)%4)%4)...)
	}
	return b, refused
}

// xattrCount is i_xattr_icount for so many bytes of xattrs.
func xattrCount(size int) uint16 {
	if size == 0 {
		return 0
	}
	return uint16((size-xattrHead)/4 + 1)
}

// split is the number of a name's prefix and the rest of the name; 0 for a prefix that the format has not.
func split(name string) (byte, string) {
	for _, p := range prefixes {
		rest, ok := strings.CutPrefix(name, p.prefix)
		if ok && (rest == "") == p.whole {
			return p.number, rest
		}
	}
	return 0, ""
}
