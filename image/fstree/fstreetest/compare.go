package fstreetest

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/tree"
)

// Aspects say what of a tree is compared.
type Aspects struct {
	Nanoseconds bool // times to the nanosecond, else to the second
	DirLinks    bool // also the number of links of directories
	NoXattrs    bool // no extended attributes
	NoDirTimes  bool // no times of directories
	NoLinks     bool // not which names are of one file
	NoSetID     bool // not the mode's bits that change who runs a file
}

// Lines has a line for each path that says everything about it.
type Lines map[string]string

// attributes are what a line is made of.
type attributes struct {
	kind         byte
	mode         uint32
	uid, gid     uint32
	links        uint32
	major, minor uint32
	at           time.Time
	link         string
	size         int64
	sum          string
	xattrs       string
	first        string // the first of its names
}

func (a attributes) line(of Aspects) string {
	seconds := fmt.Sprint(a.at.Unix())
	if of.Nanoseconds {
		seconds += fmt.Sprintf(".%09d", a.at.Nanosecond())
	}
	if a.kind == tar.TypeDir && !of.DirLinks {
		a.links = 0
	}
	if of.NoSetID {
		a.mode &^= 0o6000
	}
	if of.NoLinks {
		a.links, a.first = 0, ""
	}
	if a.kind == tar.TypeDir && of.NoDirTimes {
		seconds = "some time"
	}
	if of.NoXattrs {
		a.xattrs = ""
	}
	return fmt.Sprintf("%c %04o %d:%d links %d dev %d,%d @%s -> %q %d bytes %s xattrs %s as %s",
		a.kind, a.mode, a.uid, a.gid, a.links, a.major, a.minor, seconds, a.link, a.size, a.sum, a.xattrs, a.first)
}

// OfTree describes a tree.
func (s *Store) OfTree(root *fstree.Node, of Aspects) Lines {
	s.t.Helper()
	lines, names := Lines{}, map[*fstree.Node]string{}
	err := fstree.Walk(root, func(path string, n *fstree.Node) error {
		a := attributes{kind: n.Type, mode: n.Mode, uid: n.UID, gid: n.GID, links: n.Links, major: n.Major, minor: n.Minor, at: n.ModTime, link: n.Linkname}
		if _, known := names[n]; !known {
			names[n] = path
		}
		a.first = names[n]
		for _, x := range n.Xattrs {
			a.xattrs += fmt.Sprintf("%s=%x ", x.Name, x.Value)
		}
		if n.Type == tar.TypeReg {
			a.size, a.sum = n.Body.Size, s.sum(n.Body)
		}
		lines[path] = a.line(of)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return lines
}

func (s *Store) sum(b tree.Body) string {
	s.t.Helper()
	h := sha256.New()
	if b.Inline != nil || b.Size == 0 {
		h.Write(b.Inline)
	} else {
		s.Copy(h, &artifact.Artifact{Size: b.Size, Extents: []artifact.Extent{{Blob: b.Blob, Offset: b.Offset, Length: b.Size}}})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// OfDir describes what is in a directory of this machine.
func OfDir(t testing.TB, dir string, of Aspects) Lines {
	t.Helper()
	lines, names := Lines{}, map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		a, inode, err := inspect(path)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, known := names[inode]; !known {
			names[inode] = name
		}
		a.first = names[inode]
		lines[name] = a.line(of)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

var kinds = map[uint32]byte{
	unix.S_IFREG: tar.TypeReg, unix.S_IFDIR: tar.TypeDir, unix.S_IFLNK: tar.TypeSymlink,
	unix.S_IFCHR: tar.TypeChar, unix.S_IFBLK: tar.TypeBlock, unix.S_IFIFO: tar.TypeFifo,
}

func inspect(path string) (a attributes, inode uint64, err error) {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		return a, 0, err
	}
	a = attributes{kind: kinds[s.Mode&unix.S_IFMT], mode: s.Mode & 0o7777, uid: s.Uid, gid: s.Gid, links: uint32(s.Nlink),
		at: time.Unix(s.Mtim.Unix())}
	switch a.kind {
	case tar.TypeChar, tar.TypeBlock:
		a.major, a.minor = unix.Major(s.Rdev), unix.Minor(s.Rdev)
	case tar.TypeSymlink:
		a.link, err = os.Readlink(path)
	case tar.TypeReg:
		a.size = s.Size
		a.sum, err = sumFile(path)
	}
	if err != nil {
		return a, 0, err
	}
	a.xattrs, err = xattrs(path)
	return a, s.Ino, err
}

func sumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func xattrs(path string) (string, error) {
	list, value := make([]byte, 64<<10), make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, syscall.ENOTSUP) || n == 0 {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list xattrs: %w", err)
	}
	names := strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00")
	slices.Sort(names)
	out := ""
	for _, name := range names {
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", fmt.Errorf("xattr %s: %w", name, err)
		}
		out += fmt.Sprintf("%s=%x ", name, value[:n])
	}
	return out, nil
}

// Compare reports each path of which got and want differ, up to a few.
func Compare(t testing.TB, got, want Lines) {
	t.Helper()
	union := maps.Clone(want)
	maps.Copy(union, got)
	shown := 0
	for _, path := range slices.Sorted(maps.Keys(union)) {
		if got[path] == want[path] {
			continue
		}
		if shown++; shown > 10 {
			t.Errorf("and more")
			return
		}
		t.Errorf("%s\n got %s\nwant %s", path, got[path], want[path])
	}
}
