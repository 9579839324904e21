package outfile

import (
	"bytes"
	"io"
	"os"
)

// leastHole is how many zeros at once are worth a hole, in bytes: a block of most file systems.
const leastHole = 4 << 10

var zeros [64 << 10]byte

// sparseFile is a new file in which zeros take no room: disks are mostly zeros. What the kernel copies is copied as it is.
type sparseFile struct {
	*os.File
	hole bool // the file ends with one, which its size does not say yet
}

// Write leaves a hole for zeros.
func (f *sparseFile) Write(p []byte) (int, error) {
	if len(p) < leastHole || !isZero(p) {
		f.hole = false
		return f.File.Write(p)
	}
	if _, err := f.Seek(int64(len(p)), io.SeekCurrent); err != nil {
		return 0, err
	}
	f.hole = true
	return len(p), nil
}

// ReadFrom has the kernel copy where it can.
func (f *sparseFile) ReadFrom(r io.Reader) (int64, error) {
	n, err := f.File.ReadFrom(r)
	if n > 0 {
		f.hole = false
	}
	return n, err
}

// finish makes the file as long as what was written.
func (f *sparseFile) finish() error {
	if !f.hole {
		return nil
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	return f.Truncate(size)
}

func isZero(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), len(zeros))
		if !bytes.Equal(p[:n], zeros[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}
