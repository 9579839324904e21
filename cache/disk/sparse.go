package disk

import (
	"bytes"
	"io"
)

// holeSize is the size, in bytes, of the aligned runs of zeros that a blob's file has as holes: as many blocks of a file
// system as are worth a hole. draftBuffer is a multiple of it.
const holeSize = 32 << 10

// writeSparse writes p at offset at, a multiple of holeSize, and leaves out the runs that are zeros. It returns whether
// p ends in one: the file is shorter then, until something is written after it or it is truncated to its size.
func writeSparse(f io.WriterAt, p []byte, at int64) (open bool, err error) {
	begin := 0 // of what is to be written
	for i := 0; i < len(p); i += holeSize {
		if len(p)-i < holeSize || !zeros(p[i:i+holeSize]) {
			continue
		}
		if err := writeRun(f, p[begin:i], at+int64(begin)); err != nil {
			return false, err
		}
		begin = i + holeSize
	}
	return begin == len(p), writeRun(f, p[begin:], at+int64(begin))
}

func writeRun(f io.WriterAt, p []byte, at int64) error {
	if len(p) == 0 {
		return nil
	}
	_, err := f.WriteAt(p, at)
	return err
}

// zeros says that there is nothing else in p, which is not empty.
func zeros(p []byte) bool { return p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1]) }
