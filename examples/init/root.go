//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// newRoot is where the tmpfs that becomes the root filesystem is mounted; it is not moved itself.
const newRoot = "/.root"

// moveRoot moves everything from the initramfs to a tmpfs and runs init again from there. It returns only when it fails.
func moveRoot() error {
	if err := os.Mkdir(newRoot, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", newRoot, err)
	}
	if err := unix.Mount("rootfs", newRoot, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount the new root filesystem: %w", err)
	}
	if err := moveTree("/", newRoot); err != nil {
		return err
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the new root filesystem to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change to the new root filesystem: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// Containers ask for shared binds; the kernel's default is private.
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("share the mounts of the root filesystem: %w", err)
	}
	err := unix.Exec("/init", os.Args, append(os.Environ(), movedRoot))
	return fmt.Errorf("run /init from the new root filesystem: %w", err)
}

// Types of file systems in memory (statfs(2)); the initramfs is the first or the second.
const (
	ramfsMagic = 0x858458f6
	tmpfsMagic = 0x01021994
)

// inMemory says that the root filesystem is the initramfs: the kernel does not let containers pivot away from that one.
func inMemory(root string) bool {
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return true
	}
	return fs.Type == ramfsMagic || fs.Type == tmpfsMagic
}

// moveTree moves what is in from to the directory to, file by file, so that memory holds little twice. It stays
// on from's filesystem and keeps hard links.
func moveTree(from, to string) error {
	var root unix.Stat_t
	if err := unix.Lstat(from, &root); err != nil {
		return fmt.Errorf("look at %s: %w", from, err)
	}
	links := map[uint64]string{} // by inode: where the first of several names went
	var dirs []string            // directories' times are set when they are full
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == from {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return fmt.Errorf("look at %s: %w", path, err)
		}
		if st.Dev != root.Dev {
			return fs.SkipDir
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			dirs = append(dirs, path)
		}
		if err := moveOne(path, target, &st, links); err != nil {
			return fmt.Errorf("move %s to the new root filesystem: %w", path, err)
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		_ = os.Remove(dirs[i]) // the mount point of the new root stays
	}
	return err
}

func moveOne(path, target string, st *unix.Stat_t, links map[uint64]string) error {
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		// The last of several names looks like an only one: those before it are gone.
		if first, ok := links[st.Ino]; ok {
			return errors.Join(os.Link(first, target), os.Remove(path))
		}
		if st.Nlink > 1 {
			links[st.Ino] = target
		}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case unix.S_IFLNK:
		text, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if err := os.Symlink(text, target); err != nil {
			return err
		}
	case unix.S_IFREG:
		if err := copyFile(path, target); err != nil {
			return err
		}
	default:
		if err := unix.Mknod(target, st.Mode, int(st.Rdev)); err != nil {
			return err
		}
	}
	if err := os.Lchown(target, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, target, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return os.Remove(path)
	}
	if err := unix.Chmod(target, st.Mode&0o7777); err != nil { // after chown, which clears setuid
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil
	}
	return os.Remove(path)
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
