//go:build !linux

package disk

// putUnnamed needs O_TMPFILE.
func putUnnamed(string, []byte) (ok bool, err error) { return false, nil }
