package qemu

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kiln-farm/kiln/internal/userfile"
)

// What archives hold of what a machine boots. Names beside these are left where they are.
const (
	cloudDisk = "disk.raw" // of Google's cloud
	bootName  = "image"    // what the unpacked boot files' names begin with
)

// bootFiles are the files of tar-kernel-initrd and of the layer of oci, and the names that Detect knows them by.
var bootFiles = map[string]string{"kernel": bootName + "-kernel", "initrd.img": bootName + "-initrd.img", "cmdline": bootName + "-cmdline"}

// Unpack puts what a machine boots out of an archive (the formats gcp, tar-kernel-initrd and oci) into dir, and gives the
// path of it for Detect. What is no archive stays what and where it is: Unpack gives path.
func Unpack(path, dir string) (string, error) {
	f, err := userfile.Open(path)
	if err != nil {
		return path, nil // Detect says what is wrong, if it is
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<10)
	var found string
	switch head, _ := in.Peek(512); {
	case isGzip(head):
		found, err = unpackGzip(in, dir)
	case len(head) == 512 && string(head[257:262]) == "ustar":
		found, err = unpackTar(in, dir)
	default:
		return path, nil
	}
	if err == nil && found == "" {
		err = errors.New("there is nothing in this archive that a machine boots: it is none of the formats gcp, tar-kernel-initrd and oci")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return found, nil
}

func isGzip(head []byte) bool { return len(head) > 2 && head[0] == 0x1f && head[1] == 0x8b }

func unpackGzip(in io.Reader, dir string) (string, error) {
	z, err := gzip.NewReader(in)
	if err != nil {
		return "", err
	}
	return unpackTar(z, dir)
}

// unpackTar looks for a disk, boot files, or in an image layout for the layer with them.
func unpackTar(in io.Reader, dir string) (found string, err error) {
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return "", err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if h.Name == cloudDisk {
			found = filepath.Join(dir, cloudDisk)
			return found, writeSparse(found, r)
		}
		if name, ok := bootFiles[h.Name]; ok {
			found = filepath.Join(dir, bootName)
			if err := writeSparse(filepath.Join(dir, name), r); err != nil {
				return "", err
			}
			continue
		}
		if ok, _ := filepath.Match("blobs/sha256/*", h.Name); ok {
			blob := bufio.NewReader(r)
			if head, _ := blob.Peek(3); isGzip(head) { // the one layer that there is; all else is JSON
				return unpackGzip(blob, dir)
			}
		}
	}
}

// writeSparse writes a new file, in which blocks of zeros take no room.
func writeSparse(path string, from io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	to := &sparse{f: f}
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	return f.Truncate(to.size)
}

// sparse writes only what is not zero.
type sparse struct {
	f    *os.File
	size int64
}

func (s *sparse) Write(p []byte) (int, error) {
	if !zeros(p) {
		if n, err := s.f.WriteAt(p, s.size); err != nil {
			return n, err
		}
	}
	s.size += int64(len(p))
	return len(p), nil
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
