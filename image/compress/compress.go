package compress

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Names of compressions.
const (
	NameGzip = "gzip"
	NameZstd = "zstd"
)

// zstdWindow bounds the memory of our encoder and of the kernel's decoder, which takes up to 128 MiB.
const zstdWindow = 1 << 20

// NewWriter starts a stream of the named compression on w. Close ends it and does not close w.
func NewWriter(name string, w io.Writer) (io.WriteCloser, error) {
	switch name {
	case NameGzip:
		return NewGzip(w), nil
	case NameZstd:
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow), zstd.WithEncoderCRC(true), zstd.WithLowerEncoderMem(true))
	}
	return nil, fmt.Errorf("unknown compression %q; there are gzip and zstd", name)
}
