package userfile

import (
	"errors"
	"io/fs"
	"syscall"
)

// Cause is what the system said, without the path that the sentence names already.
func Cause(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
