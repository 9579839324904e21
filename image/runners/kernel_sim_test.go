package runners

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/kiln-farm/kiln/image/part"
)

// node is a file in a simulated root filesystem; hard links share one.
type node struct {
	mode         uint64
	uid, gid     uint64
	mtime        int64
	rdev         string
	link, data   string
	names        int // as the archive says
	isDir, isReg bool
}

// rootfs is a root filesystem by names.
type rootfs map[string]*node

func (r rootfs) empty(dir string) bool {
	for name := range r {
		if strings.HasPrefix(name, dir+"/") {
			return false
		}
	}
	return true
}

// listing is what can be compared: the tree, link groups and all.
func (r rootfs) listing() map[string]string {
	first := map[*node]string{}
	for name, n := range r {
		if old, ok := first[n]; !ok || name < old {
			first[n] = name
		}
	}
	out := map[string]string{}
	for name, n := range r {
		out[name] = fmt.Sprintf("%o %d:%d %d dev %s -> %q = %q", n.mode, n.uid, n.gid, n.mtime, n.rdev, n.link, n.data)
		if n.isReg {
			out[name] += " same as " + first[n]
		}
	}
	return out
}

// boot unpacks an initrd as Linux does (init/initramfs.c): raw archives at multiples of four, zeros skipped, compressed
// archives one after the other.
func boot(t testing.TB, initrd []byte) rootfs {
	t.Helper()
	k := &initramfs{t: t, root: rootfs{}, inodes: map[string]string{}}
	r := bytes.NewReader(initrd)
	for r.Len() > 0 {
		at := len(initrd) - r.Len()
		rest := initrd[at:]
		switch {
		case rest[0] == 0:
			r.ReadByte()
		case rest[0] == '0' && at%4 == 0:
			r.Seek(int64(k.unpack(rest)), io.SeekCurrent)
		case rest[0] == 0x1f:
			z, err := gzip.NewReader(r)
			if err != nil {
				t.Fatal(err)
			}
			z.Multistream(false)
			b, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			k.unpack(b)
		case rest[0] == 0x28: // every zstd frame to the end; parts of one kind only in these tests
			z, err := zstd.NewReader(r)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			z.Close()
			k.unpack(b)
			r.Reset(nil)
		default:
			t.Fatalf("junk at %d: %q", at, rest[:min(8, len(rest))])
		}
	}
	if !k.trailer {
		t.Error("no trailer")
	}
	return k.root
}

type initramfs struct {
	t       testing.TB
	root    rootfs
	inodes  map[string]string // device and inode to the first name
	trailer bool
}

// unpack reads records to the end of b, or to a trailer, and returns how far it came.
func (k *initramfs) unpack(b []byte) int {
	at := 0
	for at+110 <= len(b) && !k.trailer {
		head := b[at : at+110]
		if string(head[:6]) != "070701" {
			k.t.Fatalf("no record at %d: %q", at, head[:6])
		}
		n := make([]uint64, 13)
		for i := range n {
			v, err := strconv.ParseUint(string(head[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				k.t.Fatal(err)
			}
			n[i] = v
		}
		name := string(b[at+110 : at+110+int(n[11])-1])
		at = align(at + 110 + int(n[11]))
		data := string(b[at : at+int(n[6])])
		at = align(at + int(n[6]))
		if name == "TRAILER!!!" {
			k.trailer = true
			break
		}
		k.record(name, n, data)
	}
	return at
}

func align(n int) int { return (n + 3) / 4 * 4 }

func (k *initramfs) record(name string, n []uint64, data string) {
	const format, regular, directory, symlink = 0o170000, 0o100000, 0o040000, 0o120000
	made := &node{mode: n[1], uid: n[2], gid: n[3], names: int(n[4]), mtime: int64(n[5]), isDir: n[1]&format == directory, isReg: n[1]&format == regular}
	if parent := path.Dir(name); parent != "." && (k.root[parent] == nil || !k.root[parent].isDir) {
		k.t.Errorf("%s has no directory to be in", name)
		return
	}
	old := k.root[name]
	if old != nil && old.mode&format != made.mode&format {
		if old.isDir && !k.root.empty(name) {
			k.t.Errorf("%s cannot replace a directory with something in it", name)
			return
		}
		delete(k.root, name)
		old = nil
	}
	switch {
	case made.isDir:
	case made.isReg:
		if made.names > 1 {
			id := fmt.Sprint(n[7], n[8], n[0])
			if first, ok := k.inodes[id]; ok {
				delete(k.root, name)
				if k.root[first] == nil {
					k.t.Errorf("%s is to be a link to %s, which is gone", name, first)
					return
				}
				k.root[name] = k.root[first]
				if data != "" {
					k.root[name].data = data
				}
				return
			}
			k.inodes[id] = name
		}
		made.data = data
		if old != nil {
			*old = *made // the file is written over, whatever its names
			return
		}
	case n[1]&format == symlink:
		made.link = data
	case n[1]&format == 0o020000 || n[1]&format == 0o060000:
		made.rdev = fmt.Sprint(n[9], ":", n[10])
	}
	k.root[name] = made
}

// untar unpacks a tar the way people expect: later entries win.
func untar(t testing.TB, b []byte) rootfs {
	t.Helper()
	types := map[byte]uint64{tar.TypeReg: 0o100000, tar.TypeDir: 0o040000, tar.TypeSymlink: 0o120000, tar.TypeChar: 0o020000, tar.TypeBlock: 0o060000, tar.TypeFifo: 0o010000}
	root, late := rootfs{}, map[string]string{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := path.Clean(strings.TrimLeft(h.Name, "/"))
		if strings.HasPrefix(name, "boot/") || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		for dir := path.Dir(name); dir != "." && root[dir] == nil; dir = path.Dir(dir) {
			root[dir] = &node{mode: 0o40755, isDir: true, mtime: part.DefaultTime.Unix()}
		}
		if h.Typeflag == tar.TypeLink {
			to := path.Clean(h.Linkname)
			if root[to] == nil {
				late[name] = to
			} else {
				root[name] = root[to]
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		n := &node{mode: types[h.Typeflag] | uint64(h.Mode&0o7777), uid: uint64(h.Uid), gid: uint64(h.Gid), mtime: max(h.ModTime.Unix(), 0),
			isDir: h.Typeflag == tar.TypeDir, isReg: h.Typeflag == tar.TypeReg, data: string(data)}
		switch h.Typeflag {
		case tar.TypeSymlink:
			n.link = h.Linkname
		case tar.TypeChar, tar.TypeBlock:
			n.rdev = fmt.Sprint(h.Devmajor, ":", h.Devminor)
		}
		root[name] = n
	}
	for from := range late {
		to := from
		for late[to] != "" {
			to = late[to]
		}
		root[from] = root[to]
	}
	return root
}
