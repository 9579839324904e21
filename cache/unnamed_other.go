//go:build !linux

package cache

// putUnnamed needs O_TMPFILE.
func putUnnamed(string, []byte) (ok bool, err error) { return false, nil }
