package oci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/internal/userfile"
)

// capabilityXattr holds a program's file capabilities: the one extended attribute that an image must not lose.
const capabilityXattr = "security.capability"

// treeWriter writes a directory as a tar that depends on nothing but the directory's contents.
type treeWriter struct {
	tar   *tar.Writer
	opts  *PackOptions
	first map[inode]string // the first name of every file with several
}

type inode struct{ device, number uint64 }

// writeTree writes o.Dir, or what it is a link to, to w: names in lexical order of each directory, parents first.
func writeTree(ctx context.Context, w io.Writer, o *PackOptions) error {
	t := &treeWriter{tar: tar.NewWriter(w), opts: o, first: map[inode]string{}}
	dir, err := filepath.EvalSymlinks(o.Dir)
	if err != nil {
		return err
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if err := t.write(path, filepath.ToSlash(name), info); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.tar.Close()
}

func (t *treeWriter) write(path, name string, info fs.FileInfo) error {
	if info.Mode()&fs.ModeSocket != 0 {
		return errors.New("it is a socket, which no image can hold: remove it")
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = name
	if info.IsDir() {
		h.Name += "/"
	}
	h.Uname, h.Gname = "", ""
	if !t.opts.KeepOwners {
		h.Uid, h.Gid = 0, 0
	}
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	h.ModTime = time.Unix(max(0, min(info.ModTime().Unix(), t.opts.Epoch)), 0)

	if first, ok := t.linked(name, info); ok {
		h.Typeflag, h.Linkname, h.Size, h.Devmajor, h.Devminor = tar.TypeLink, first, 0, 0, 0
		return t.tar.WriteHeader(h)
	}
	if !info.Mode().IsRegular() {
		return t.tar.WriteHeader(h)
	}
	return t.writeFile(path, h)
}

// linked returns the name under which the same file was written before.
func (t *treeWriter) linked(name string, info fs.FileInfo) (string, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.IsDir() || st.Nlink < 2 {
		return "", false
	}
	id := inode{uint64(st.Dev), st.Ino}
	first, seen := t.first[id]
	if !seen {
		t.first[id] = name
	}
	return first, seen
}

func (t *treeWriter) writeFile(path string, h *tar.Header) error {
	f, err := userfile.OpenNoFollow(path)
	if err != nil {
		return err
	}
	defer f.Close()
	capability, err := readXattr(f, capabilityXattr)
	if err != nil {
		return err
	}
	if capability != "" {
		h.PAXRecords = map[string]string{"SCHILY.xattr." + capabilityXattr: capability}
	}
	if err := t.tar.WriteHeader(h); err != nil {
		return err
	}
	// What is appended meanwhile does not belong to the file that was found.
	n, err := io.Copy(t.tar, io.LimitReader(f, h.Size))
	if err == nil && n < h.Size {
		err = errors.New("it became shorter while it was read: pack again when nothing writes to the directory")
	}
	return err
}

// readXattr is "" when the attribute is absent or the file system has none.
func readXattr(f *os.File, name string) (string, error) {
	buf := make([]byte, 256) // a capability has at most 24 bytes (vfs_ns_cap_data)
	n, err := unix.Fgetxattr(int(f.Fd()), name, buf)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return string(buf[:n]), nil
}
