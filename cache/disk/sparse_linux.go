package disk

import (
	"io/fs"
	"syscall"
)

// taken is how many bytes of the disk a value's file takes, as far as it has holes; else its size. Small files may lie
// in their inode and take none.
func taken(info fs.FileInfo) int64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Size() < holeSize {
		return info.Size()
	}
	return min(info.Size(), st.Blocks*512) // of 512 bytes whatever the file system (stat(2))
}
