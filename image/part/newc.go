package part

import (
	"archive/tar"
	"fmt"
	"io"
	"math"

	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// Types of files (inode(7)) by types of entries.
var fileTypes = map[byte]uint32{
	tar.TypeReg: 0o100000, tar.TypeSymlink: 0o120000, tar.TypeDir: 0o040000,
	tar.TypeChar: 0o020000, tar.TypeBlock: 0o060000, tar.TypeFifo: 0o010000,
}

// newcHead is a record's head: 13 hexadecimal numbers after the magic, 110 bytes in all (Linux
// Documentation/driver-api/early-userspace/buffer-format.rst). They are inode, mode, owner, group, number of names, time,
// size, device (major, minor), device that the file is (major, minor), size of the name with its NUL, and a checksum,
// which this form has not.
const (
	newcHead     = "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x"
	newcHeadSize = 110
)

// newc writes records.
type newc struct {
	w    io.Writer
	seed uint64 // the device numbers
	open *files
	buf  []byte
}

// write writes one record with the head, the name and the body, each padded to four bytes.
func (a *newc) write(e *tree.Entry, inode, names uint32) error {
	body := e.Body
	switch e.Type {
	case tar.TypeReg:
	case tar.TypeSymlink:
		body = tree.Body{Inline: []byte(e.Linkname), Size: int64(len(e.Linkname))}
	default:
		body = tree.Body{}
	}
	if body.Size > math.MaxUint32 {
		return step.Failf("%s has %d bytes, but a file in an initrd must be smaller than 4 GiB; choose a format that is no initrd", e.Name, body.Size)
	}
	head := fmt.Appendf(a.buf[:0], newcHead, inode, fileTypes[e.Type]|uint32(e.Mode&0o7777), uint32(e.UID), uint32(e.GID), names,
		clamp(e), body.Size, uint32(a.seed>>32), uint32(a.seed), uint32(e.Devmajor), uint32(e.Devminor), len(e.Name)+1, 0)
	head = append(append(head, e.Name...), 0)
	head = append(head, pad(int64(len(head)))...)
	a.buf = head
	if _, err := a.w.Write(head); err != nil || body.Size == 0 {
		return err
	}
	r, err := a.open.body(body)
	if err != nil {
		return err
	}
	if n, err := io.Copy(a.w, r); err != nil {
		return fmt.Errorf("copy %s: %w", e.Name, err)
	} else if n != body.Size {
		return fmt.Errorf("copy %s: %d of %d bytes", e.Name, n, body.Size)
	}
	_, err = io.WriteString(a.w, pad(body.Size))
	return err
}

// clamp is the time of an entry as far as newc can tell it: from 1970 to 2106.
func clamp(e *tree.Entry) int64 {
	if e.ModTime.IsZero() {
		return 0
	}
	return min(max(e.ModTime.Unix(), 0), math.MaxUint32)
}

// pad is what brings n bytes to a multiple of four.
func pad(n int64) string { return "\x00\x00\x00"[:(4-n%4)%4] }

// Trailer is the record that ends the last archive of an initrd.
func Trailer() []byte {
	const name = "TRAILER!!!\x00"
	b := fmt.Appendf(nil, newcHead+name, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(name), 0)
	return append(b, pad(int64(len(b)))...)
}
