package embedded

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// leastRoom is what must be free on the cache's disk, in bytes, for a server to take more work: room for the outputs
// of the steps that run already.
const leastRoom = 1 << 30

// Room says why the disk below dir is too full for more work.
func Room(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil // a file system that does not say has room
	}
	if free := int64(fs.Bavail) * int64(fs.Bsize); free < leastRoom {
		return fmt.Errorf("the disk of the cache directory %s has only %d MiB left", dir, free>>20)
	}
	return nil
}
