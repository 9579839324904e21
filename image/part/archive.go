package part

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// File types of newc archives (Linux Documentation/driver-api/early-userspace/buffer-format.rst; stat(2)).
const (
	modeFIFO, modeChar, modeDir, modeBlock = 0o010000, 0o020000, 0o040000, 0o060000
	modeReg, modeLink                      = 0o100000, 0o120000
)

// Archive writes the part as a newc cpio archive without its trailer. Seed makes the device numbers: two archives that
// the kernel reads in a row must not share (device, inode), or it takes their files for hard links. Names in omit are
// left out. Log takes warnings.
func Archive(ctx context.Context, blobs cache.Blobs, root step.Root, trees []cache.Digest, omit map[string]bool, seed uint64, w io.Writer, log func(string)) error {
	a := &archive{w: w, seed: seed, open: newFiles(ctx, blobs), log: log, groups: map[string]*group{}, targets: map[string]bool{}}
	defer a.open.close()
	walk := func(f func(*tree.Entry) error) error {
		return Walk(ctx, blobs, root, trees, func(e *tree.Entry) error {
			e.Name = path.Clean(strings.TrimLeft(e.Name, "/"))
			if e.Type == tar.TypeLink {
				e.Linkname = path.Clean(strings.TrimLeft(e.Linkname, "/"))
			}
			if strings.HasPrefix(e.Name, "boot/") {
				return nil // LinuxKit keeps what is in boot/ out of the initrd
			}
			return f(e)
		})
	}
	links := map[string]string{}
	err := walk(func(e *tree.Entry) error {
		if e.Type == tar.TypeLink {
			links[e.Name] = e.Linkname
		}
		return nil
	})
	for name := range links {
		a.targets[target(name, links)] = true
	}
	if err == nil && len(links) > 0 {
		err = walk(func(e *tree.Entry) error { return a.gather(e, links, omit) })
	}
	if err == nil {
		err = walk(func(e *tree.Entry) error {
			if omit[e.Name] && e.Type != tar.TypeDir {
				return nil
			}
			return a.entry(e, links)
		})
	}
	return err
}

// group is a set of names of one file.
type group struct {
	file    *tree.Entry // the name that carries the contents in the tar; nil when the tree has none
	members uint32
	inode   uint32
	written bool // the contents
}

type archive struct {
	w       io.Writer
	seed    uint64
	inode   uint32
	open    *files
	log     func(string)
	groups  map[string]*group // by the name of the file that links lead to
	targets map[string]bool
	warned  bool
}

// target follows links to links; a cycle ends at any of its names.
func target(name string, links map[string]string) string {
	for range len(links) + 1 {
		next, ok := links[name]
		if !ok {
			break
		}
		name = next
	}
	return name
}

// gather learns the members of each group and the file behind it.
func (a *archive) gather(e *tree.Entry, links map[string]string, omit map[string]bool) error {
	key := e.Name
	switch e.Type {
	case tar.TypeLink:
		key = target(e.Name, links)
	case tar.TypeReg:
		if _, isLink := links[e.Name]; isLink {
			return nil // a name that is rewritten later in the same tree
		}
	default:
		return nil
	}
	g := a.groups[key]
	if g == nil {
		if e.Type == tar.TypeReg && !a.targets[key] {
			return nil
		}
		g = &group{}
		a.groups[key] = g
	}
	if e.Type == tar.TypeReg {
		if g.file != nil {
			return nil
		}
		copied := *e
		g.file = &copied
	}
	if !omit[e.Name] {
		g.members++
	}
	return nil
}

func (a *archive) entry(e *tree.Entry, links map[string]string) error {
	if e.PAX["SCHILY.xattr.security.capability"] != "" && !a.warned {
		a.warned = true
		a.log(fmt.Sprintf("warning: %s has file capabilities, which an initrd cannot carry; set capabilities for the container instead", e.Name))
	}
	key := e.Name
	if e.Type == tar.TypeLink {
		key = target(e.Name, links)
	}
	g := a.groups[key]
	if e.Type == tar.TypeLink || g != nil && e.Type == tar.TypeReg {
		if g == nil || g.file == nil {
			a.log(fmt.Sprintf("warning: hard link %s has no target %s and is left out", e.Name, e.Linkname))
			return nil
		}
		if g.inode == 0 {
			a.inode++
			g.inode = a.inode
		}
		member := *g.file
		member.Name = e.Name
		if g.written {
			member.Body = tree.Body{}
		}
		g.written = true
		return a.write(&member, modeReg, g.inode, g.members)
	}
	a.inode++
	switch e.Type {
	case tar.TypeDir:
		return a.write(e, modeDir, a.inode, 2)
	case tar.TypeSymlink:
		e.Body = tree.Body{Inline: []byte(e.Linkname), Size: int64(len(e.Linkname))}
		return a.write(e, modeLink, a.inode, 1)
	case tar.TypeChar:
		return a.write(e, modeChar, a.inode, 1)
	case tar.TypeBlock:
		return a.write(e, modeBlock, a.inode, 1)
	case tar.TypeFifo:
		return a.write(e, modeFIFO, a.inode, 1)
	}
	return a.write(e, modeReg, a.inode, 1)
}

// write writes one record: a header of hexadecimal numbers, the name, the body, each padded to four bytes.
func (a *archive) write(e *tree.Entry, kind uint32, inode, links uint32) error {
	if kind == modeDir || kind == modeChar || kind == modeBlock || kind == modeFIFO {
		e.Body = tree.Body{}
	}
	if e.Body.Size > math.MaxUint32 {
		return step.Failf("%s has %d bytes; a file in an initrd is smaller than 4 GiB: use a format with a disk", e.Name, e.Body.Size)
	}
	mtime := int64(0)
	if !e.ModTime.IsZero() {
		mtime = min(max(e.ModTime.Unix(), 0), math.MaxUint32)
	}
	name := e.Name + "\x00"
	_, err := fmt.Fprintf(a.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s%s",
		inode, kind|uint32(e.Mode&0o7777), uint32(e.UID), uint32(e.GID), links, mtime, e.Body.Size,
		uint32(a.seed>>32), uint32(a.seed), uint32(e.Devmajor), uint32(e.Devminor), len(name), 0, name, pad(110+int64(len(name))))
	if err != nil || e.Body.Size == 0 {
		return err
	}
	r, err := a.open.body(e.Body)
	if err != nil {
		return err
	}
	if n, err := io.Copy(a.w, r); err != nil || n != e.Body.Size {
		return fmt.Errorf("copy %s: %d of %d bytes: %w", e.Name, n, e.Body.Size, err)
	}
	_, err = io.WriteString(a.w, pad(e.Body.Size))
	return err
}

// pad is what brings n bytes to a multiple of four.
func pad(n int64) string { return "\x00\x00\x00"[:(4-n%4)%4] }

// Trailer is the record that ends the last archive of an initrd.
func Trailer() []byte {
	b := fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08xTRAILER!!!\x00", 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0)
	return append(b, pad(int64(len(b)))...)
}
