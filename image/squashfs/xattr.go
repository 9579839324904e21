package squashfs

import (
	"encoding/binary"
	"strings"

	"github.com/kiln-farm/kiln/image/fstree"
)

// prefixes of xattrs that the format has (SQUASHFS_XATTR_USER and following), by their numbers.
var prefixes = []string{"user.", "trusted.", "security."}

// xattrs gathers the sets of extended attributes of an image; equal sets are stored once.
type xattrs struct {
	values *metadata
	sets   []byte // struct squashfs_xattr_id of each set
	ids    map[string]uint32
}

const (
	xattrSetSize = 16 // struct squashfs_xattr_id

	// Limits of Linux (include/uapi/linux/limits.h).
	maxXattrName  = 255
	maxXattrValue = 64 << 10
)

func newXattrs(k *codec) *xattrs { return &xattrs{values: newMetadata(k), ids: map[string]uint32{}} }

// id is the number of a set; noXattr for none. Refused are those that the format has no prefix for, or Linux no room.
func (x *xattrs) id(list []fstree.Xattr) (id uint32, refused []string) {
	var b []byte
	count, size := uint32(0), uint32(0)
	for _, a := range list {
		kind, name := split(a.Name)
		if kind < 0 || len(name) > maxXattrName || len(a.Value) > maxXattrValue {
			refused = append(refused, a.Name)
			continue
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(kind))
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(name))), name...)
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(a.Value))), a.Value...)
		count++
		size += uint32(len(a.Name) + 1 + len(a.Value)) // with the prefix, as mksquashfs counts
	}
	if count == 0 {
		return noXattr, refused
	}
	if id, ok := x.ids[string(b)]; ok {
		return id, refused
	}
	id = uint32(len(x.sets) / xattrSetSize)
	x.ids[string(b)] = id
	x.sets = binary.LittleEndian.AppendUint64(x.sets, uint64(x.values.here()))
	x.sets = binary.LittleEndian.AppendUint32(x.sets, count)
	x.sets = binary.LittleEndian.AppendUint32(x.sets, size)
	x.values.write(b)
	return id, refused
}

// split is the number of a name's prefix and the rest of the name; -1 for a prefix that the format has not.
func split(name string) (int, string) {
	for i, prefix := range prefixes {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
			return i, rest
		}
	}
	return -1, ""
}

// appendTo appends the values and the table of sets. Start is what the superblock knows them by.
func (x *xattrs) appendTo(b []byte, base int64, k *codec) (out []byte, start uint64, err error) {
	if len(x.sets) == 0 {
		return b, noTable, nil
	}
	valuesAt := uint64(base + int64(len(b)))
	values, err := x.values.finish()
	if err != nil {
		return nil, 0, err
	}
	// struct squashfs_xattr_id_table
	head := binary.LittleEndian.AppendUint64(nil, valuesAt)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(x.sets)/xattrSetSize))
	head = binary.LittleEndian.AppendUint32(head, 0)
	return appendTable(append(b, values...), base, k, x.sets, head)
}
