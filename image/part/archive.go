package part

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// boot starts the names of what is beside the initrd, not in it; the directory itself stays, as in LinuxKit's.
const boot = "boot/"

const capabilityRecord = "SCHILY.xattr.security.capability"

// Archive writes the part as a newc cpio archive without its trailer. Seed makes the device numbers: two archives that
// the kernel reads in a row must not share (device, inode), or it takes their files for hard links. Names in omit are
// left out. Log takes warnings.
//
// Unlike LinuxKit, which makes symbolic links of them, hard links stay what they are.
func Archive(ctx context.Context, blobs cache.Blobs, root step.Root, trees []cache.Digest, omit map[string]bool, seed uint64, w io.Writer, log func(string)) error {
	root.Decompress = false // the kernel is not in the archive
	walk := func(f func(int, *tree.Entry) error) error {
		n := 0
		return Walk(ctx, blobs, root, trees, func(e *tree.Entry) error {
			cleaned(e)
			if strings.HasPrefix(e.Name, boot) || e.Type == tar.TypeXGlobalHeader {
				return nil
			}
			n++
			return f(n, e)
		})
	}
	s, err := look(walk, omit)
	if err != nil {
		return err
	}
	a := &archive{survey: s, out: newc{w: w, seed: seed, open: newFiles(ctx, blobs)}, log: log, warned: map[string]bool{}}
	defer a.out.open.close()
	return walk(a.entry)
}

type archive struct {
	*survey
	out    newc
	inode  uint32
	log    func(string)
	warned map[string]bool
}

func (a *archive) entry(n int, e *tree.Entry) error {
	a.look(e)
	if a.left(n, e) {
		return nil
	}
	if err := fits(e); err != nil {
		return err
	}
	if err := a.parents(path.Dir(e.Name)); err != nil {
		return err
	}
	if e.Type == tar.TypeDir {
		return a.directory(e)
	}
	g := a.group(n, e)
	if g == nil && e.Type != tar.TypeLink {
		return a.out.write(e, a.next(), 1)
	}
	if g == nil || g.file == nil {
		a.warn("link", "hard link %s leads to %s, which is not there, and is left out", e.Name, e.Linkname)
		return nil
	}
	member := *g.file
	member.Name = e.Name
	if member.Type != tar.TypeReg { // the kernel links files only
		return a.out.write(&member, a.next(), 1)
	}
	if g.inode == 0 {
		g.inode = a.next()
	}
	if g.written {
		member.Body = tree.Body{}
	}
	g.written = true
	return a.out.write(&member, g.inode, g.names)
}

// next is a new inode number.
func (a *archive) next() uint32 {
	a.inode++
	return a.inode
}

// parents writes the directories down to dir that have no entry before what is in them: the kernel makes none. What
// another part has before this one, as a directory or as a link to one, is in omit.
func (a *archive) parents(dir string) error {
	if !a.missing[dir] {
		return nil
	}
	delete(a.missing, dir)
	if err := a.parents(path.Dir(dir)); err != nil {
		return err
	}
	if a.late[dir] == nil && a.omit[dir] {
		return nil
	}
	return a.directory(&tree.Entry{Name: dir, Type: tar.TypeDir, Mode: 0o755, ModTime: DefaultTime})
}

// directory writes a directory once, as its last entry has it.
func (a *archive) directory(e *tree.Entry) error {
	if last, more := a.late[e.Name]; more {
		if last == nil {
			return nil // it is written
		}
		a.late[e.Name] = nil
		e = last
	}
	if err := fits(e); err != nil {
		return err
	}
	return a.out.write(e, a.next(), 2)
}

// fits refuses what the kernel would drop, or take for something else, without a word.
func fits(e *tree.Entry) error {
	if e.Name == "TRAILER!!!" { // init/initramfs.c: it ends an archive
		return step.Failf("an initrd cannot hold a file with the name %s in its root directory, because that ends an archive of its; rename the file", e.Name)
	}
	return Check("", e)
}

// look warns of what the archive cannot hold.
func (a *archive) look(e *tree.Entry) {
	if e.PAX[capabilityRecord] != "" {
		a.warn("capability", "%s has file capabilities, which an initrd cannot hold; give the container capabilities instead", e.Name)
	}
	if !e.ModTime.IsZero() && clamp(e) != e.ModTime.Unix() {
		a.warn("time", "the time of %s is not between 1970 and 2106 and is moved there", e.Name)
	}
}

// warn logs the first warning of each kind.
func (a *archive) warn(kind, format string, args ...any) {
	if !a.warned[kind] {
		a.warned[kind] = true
		a.log("warning: " + fmt.Sprintf(format, args...))
	}
}
