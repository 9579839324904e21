package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ballast fills a disk.
const ballast = ".ballast"

// Disk is a small file system of a node's own.
type Disk struct{ dir string }

// newDisk mounts an empty file system of size bytes at dir, which root alone may do.
func newDisk(dir string, size int64) (*Disk, error) {
	if err := syscall.Mount("kiln-lab", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		return nil, fmt.Errorf("a disk of %d bytes at %s: %w", size, dir, err)
	}
	return &Disk{dir}, nil
}

// Fill leaves room for that many bytes.
func (d *Disk) Fill(leave int64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &fs); err != nil {
		return fmt.Errorf("look at the disk %s: %w", d.dir, err)
	}
	free := int64(fs.Bavail)*fs.Bsize - leave
	if free <= 0 {
		return nil
	}
	file, err := os.Create(filepath.Join(d.dir, ballast))
	if err != nil {
		return fmt.Errorf("fill the disk %s: %w", d.dir, err)
	}
	err = syscall.Fallocate(int(file.Fd()), 0, 0, free)
	if err = errors.Join(err, file.Close()); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("fill the disk %s: %w", d.dir, err)
	}
	return nil
}

// Free gives back what Fill took.
func (d *Disk) Free() error {
	if err := os.Remove(filepath.Join(d.dir, ballast)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free the disk %s: %w", d.dir, err)
	}
	return nil
}

// Close takes the disk away, with what is on it.
func (d *Disk) Close() error {
	if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("take away the disk %s: %w", d.dir, err)
	}
	return nil
}

// Clear empties a directory, and takes away the disks that a run which was killed left mounted below it.
func Clear(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		_ = syscall.Unmount(path, syscall.MNT_DETACH) // most are no disks
	}
	return errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700))
}
