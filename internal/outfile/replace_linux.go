package outfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// replace gives the finished file temp its name. A file that has the name already changes places with it and is
// removed: ext4 answers a rename over a file by writing the new one out to disk at once (auto_da_alloc), which takes
// longer than making it.
func replace(temp, path string) error {
	if unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE) == nil {
		return os.Remove(temp)
	}
	return os.Rename(temp, path)
}
