package disk

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// currentBoot reads the id that the kernel draws at every start.
func currentBoot() (id bootID) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return bootID{}
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil || len(raw) != len(id) {
		return bootID{}
	}
	return bootID(raw)
}

func identityOf(info fs.FileInfo) identity {
	id := identity{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.device, id.inode = uint64(st.Dev), st.Ino
		id.ctime, id.atime = st.Ctim.Nano(), st.Atim.Nano()
	}
	return id
}

func readStamp(f *os.File) []byte {
	buf := make([]byte, stampSize)
	n, err := unix.Fgetxattr(int(f.Fd()), stampName, buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// writeStamp sets the attribute. The kernel asks for write permission on the file itself, which a blob denies
// to everyone but root; its owner lends it to himself for the moment.
func writeStamp(f *os.File, value []byte) error {
	fd := int(f.Fd())
	err := unix.Fsetxattr(fd, stampName, value, 0)
	if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		return err
	}
	if err := unix.Fchmod(fd, blobMode|0o200); err != nil {
		return err
	}
	err = unix.Fsetxattr(fd, stampName, value, 0)
	return errors.Join(err, unix.Fchmod(fd, blobMode))
}

// tryLock takes the file's lock when nobody has it.
func tryLock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
