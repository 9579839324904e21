package cache

import (
	"io"
	"os"
)

// File is a blob opened for reading: a verified local file. Close it.
type File struct {
	*os.File
	Digest Digest
	Size   int64
}

// Section reads n bytes of the blob from offset, independent of other readers.
func (f *File) Section(offset, n int64) *io.SectionReader {
	return io.NewSectionReader(f.File, offset, n)
}
