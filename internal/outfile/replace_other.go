//go:build !linux

package outfile

import "os"

// replace gives the finished file temp its name.
func replace(temp, path string) error { return os.Rename(temp, path) }
