package conformance

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/part"
	"github.com/klauspost/compress/zstd"
)

// inode is a file with one or more names; files is a directory tree by names.
type inode struct {
	kind         byte
	mode         int64
	uid, gid     int64
	major, minor int64
	mtime        int64
	link         string
	size         int64
	sum          [sha256.Size]byte
}

type files map[string]*inode

// put writes over what is there as both tar and the kernel do: a directory stays the same directory.
func (f files) put(name string, n *inode) {
	if old := f[name]; old != nil && old.kind == tar.TypeDir && n.kind == tar.TypeDir {
		*old = *n
		return
	}
	f[name] = n
}

// lines describes every name, with its other names: what two trees must have in common. What newc cannot hold
// (xattrs, parts of seconds) is left out, and so is what is beside the initrd, below boot/.
func (f files) lines() map[string]string {
	first := map[*inode]string{}
	for name, n := range f {
		if other, ok := first[n]; !ok || name < other {
			first[n] = name
		}
	}
	out := map[string]string{}
	for name, n := range f {
		if strings.HasPrefix(name, "boot/") {
			continue
		}
		mtime := n.mtime
		out[name] = fmt.Sprintf("%c %o %d:%d %d,%d @%d %d %x -> %q as %s",
			n.kind, n.mode, n.uid, n.gid, n.major, n.minor, mtime, n.size, n.sum[:6], n.link, first[n])
	}
	return out
}

// untar unpacks an archive the way tar does: entries in order, later ones in place of earlier ones. A hard link may
// come before its target; it is made when that comes.
func untar(t testing.TB, r io.Reader) files {
	t.Helper()
	f := files{}
	waiting := map[string]string{} // links without a target, by name
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := path.Clean(strings.TrimLeft(h.Name, "/"))
		if h.Typeflag == tar.TypeLink {
			to := path.Clean(h.Linkname)
			if f[to] != nil {
				f[name] = f[to]
			} else {
				waiting[name] = to
			}
			continue
		}
		n := &inode{
			kind: h.Typeflag, mode: h.Mode & 0o7777, uid: int64(h.Uid), gid: int64(h.Gid), mtime: h.ModTime.Unix(),
			link: h.Linkname, major: h.Devmajor, minor: h.Devminor, size: h.Size,
		}
		if h.Typeflag == tar.TypeSymlink {
			n.size = int64(len(h.Linkname))
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, tr); err != nil {
			t.Fatal(err)
		}
		hash.Sum(n.sum[:0])
		f.put(name, n)
		delete(waiting, name)
		for link, to := range waiting {
			if to == name {
				f[link] = n
				delete(waiting, link)
			}
		}
	}
	f.addParents()
	return f
}

// addParents makes the directories that an archive leaves out, as everyone who unpacks one does.
func (f files) addParents() {
	for _, name := range slices.Collect(maps.Keys(f)) {
		for dir := path.Dir(name); dir != "." && f[dir] == nil; dir = path.Dir(dir) {
			f[dir] = &inode{kind: tar.TypeDir, mode: 0o755, mtime: part.DefaultTime.Unix(), sum: sha256.Sum256(nil)}
		}
	}
}

func (f files) emptyDir(name string) bool {
	for other := range f {
		if strings.HasPrefix(other, name+"/") {
			return false
		}
	}
	return f[name].kind == tar.TypeDir
}

// unpackInitrd unpacks archives in a row as the kernel does (init/initramfs.c): skipping zeros, and taking files of
// one device and inode number, since the last trailer, for one file.
func unpackInitrd(t testing.TB, compressed io.Reader, compression string) files {
	t.Helper()
	r := bufio.NewReader(decompress(t, compressed, compression))
	f, linked := files{}, map[string]*inode{}
	for trailers := 0; ; {
		e, err := readNewc(r)
		if errors.Is(err, io.EOF) {
			if trailers != 1 {
				t.Errorf("the initrd has %d trailers, want 1 at its very end", trailers)
			}
			return f
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.name == "TRAILER!!!" {
			trailers++
			clear(linked)
			continue
		}
		if e.links > 1 && e.kind == tar.TypeReg {
			if other, ok := linked[e.id]; ok {
				if e.size > 0 {
					other.size, other.sum = e.size, e.sum
				}
				f[e.name] = other
				continue
			}
			linked[e.id] = &e.inode
		} else if other, ok := linked[e.id]; ok && e.kind == tar.TypeReg {
			t.Errorf("%s has the inode number of %v", e.name, other)
		}
		if dir := f[path.Dir(e.name)]; e.name != "." && path.Dir(e.name) != "." && dir == nil {
			t.Errorf("the directory of %s comes after it or never: the kernel would not make the file", e.name)
		}
		if old := f[e.name]; old != nil && old.kind != e.kind && !f.emptyDir(e.name) { // which clean_path removes
			t.Errorf("%s is of type %c and then of type %c, which the kernel may drop", e.name, old.kind, e.kind)
		}
		if old := f[e.name]; old != nil && old.kind == tar.TypeReg {
			*old = e.inode // O_TRUNC: all names of the file change
			if e.links > 1 {
				linked[e.id] = old
			}
			continue
		}
		f.put(e.name, &e.inode)
		if e.links > 1 && e.kind == tar.TypeReg {
			linked[e.id] = f[e.name]
		}
	}
}

func decompress(t testing.TB, r io.Reader, compression string) io.Reader {
	t.Helper()
	if compression == "zstd" {
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(z.Close)
		return z
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

type newcEntry struct {
	inode
	name  string
	id    string // device and inode number
	links int64
}

// readNewc reads one entry (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
func readNewc(r *bufio.Reader) (*newcEntry, error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if b != 0 {
			r.UnreadByte()
			break
		}
	}
	var header [110]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, fmt.Errorf("a cut header: %v", err)
	}
	if string(header[:6]) != "070701" {
		return nil, fmt.Errorf("bad magic %q", header[:6])
	}
	var v [13]int64
	for i := range v {
		n, err := strconv.ParseUint(string(header[6+8*i:14+8*i]), 16, 32)
		if err != nil {
			return nil, err
		}
		v[i] = int64(n)
	}
	name := make([]byte, v[11])
	if _, err := io.ReadFull(r, name); err != nil {
		return nil, fmt.Errorf("a cut name: %v", err)
	}
	io.CopyN(io.Discard, r, (4-(110+v[11])%4)%4)
	e := &newcEntry{name: string(bytes.TrimRight(name, "\x00")), id: fmt.Sprint(v[7], v[8], v[0]), links: v[4]}
	e.mode, e.uid, e.gid, e.mtime, e.size, e.major, e.minor = v[1]&0o7777, v[2], v[3], v[5], v[6], v[9], v[10]
	kinds := map[int64]byte{
		0o040000: tar.TypeDir, 0o100000: tar.TypeReg, 0o120000: tar.TypeSymlink, 0o020000: tar.TypeChar,
		0o060000: tar.TypeBlock, 0o010000: tar.TypeFifo,
	}
	e.kind = kinds[v[1]&0o170000]
	if e.kind == 0 && e.name != "TRAILER!!!" {
		return nil, fmt.Errorf("%s has mode %o", e.name, v[1])
	}
	hash := sha256.New()
	if e.kind == tar.TypeSymlink {
		to := make([]byte, v[6])
		if _, err := io.ReadFull(r, to); err != nil {
			return nil, err
		}
		e.link = string(to)
	} else if _, err := io.CopyN(hash, r, v[6]); err != nil {
		return nil, fmt.Errorf("a cut body of %s: %v", e.name, err)
	}
	hash.Sum(e.sum[:0])
	_, err := io.CopyN(io.Discard, r, (4-v[6]%4)%4)
	return e, err
}
