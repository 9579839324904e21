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

// Range reads n bytes of the blob from offset (n < 0: to the end), or what there is of them. Closing it closes f.
func (f *File) Range(offset, n int64) io.ReadCloser {
	rest := max(f.Size-offset, 0)
	if n < 0 || n > rest {
		n = rest
	}
	return &fileRange{f.Section(offset, n), f}
}

type fileRange struct {
	*io.SectionReader
	io.Closer
}
