package squashfs

import (
	"fmt"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Compression is how an image is compressed, data and tables.
type Compression string

// The compressions. Every kernel with squashfs reads gzip; zstd takes less time to make and to read.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// gzipLevel and zstdLevel shape the bytes: a change is a new version of the steps that call this package. Over 338 MB of
// real programs on two cores: gzip at level 5 2.0 s for 39.5 % of the size, level 6 3.8 s for 39.1 %, level 7 7.9 s for
// 38.3 %, level 9 15 s for 38.1 % (mksquashfs at its level 9: 36.9 %); zstd at SpeedFastest 2.2 s for 41.4 %, SpeedDefault
// 2.8 s for 39.1 %, SpeedBetterCompression 2.2 s for 38.5 %, SpeedBestCompression 15 s for 36.4 % (mksquashfs at its level
// 15: 33.4 %).
const (
	gzipLevel = 6
	zstdLevel = zstd.SpeedBetterCompression
)

// number is how the superblock names it (ZLIB_COMPRESSION, ZSTD_COMPRESSION).
func (c Compression) number() uint16 {
	if c == Zstd {
		return 6
	}
	return 1
}

// codec compresses blocks. One goroutine may use it.
type codec struct {
	zlib *zlib.Writer
	zstd *zstd.Encoder
	out  appender
}

// appender is a slice that is written to.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

func newCodec(c Compression) (*codec, error) {
	k := &codec{}
	var err error
	switch c {
	case Gzip:
		k.zlib, err = zlib.NewWriterLevel(&k.out, gzipLevel)
	case Zstd:
		// The kernel's decoder has a window of one block (fs/squashfs/zstd_wrapper.c).
		k.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstdLevel), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
			zstd.WithWindowSize(blockSize), zstd.WithSingleSegment(true), zstd.WithLowerEncoderMem(true))
	default:
		err = fmt.Errorf("unknown compression %q of squashfs; there are gzip and zstd", c)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// compress returns in compressed, in the memory of buf where that is enough, or in itself when it would not become
// smaller.
func (k *codec) compress(buf, in []byte) (out []byte, compressed bool, err error) {
	if k.zstd != nil {
		out = k.zstd.EncodeAll(in, buf[:0])
	} else {
		k.out = buf[:0]
		k.zlib.Reset(&k.out)
		if _, err = k.zlib.Write(in); err == nil {
			err = k.zlib.Close()
		}
		out = k.out
	}
	if err != nil {
		return nil, false, fmt.Errorf("compress a block: %w", err)
	}
	if len(out) >= len(in) {
		return in, false, nil
	}
	return out, true, nil
}
