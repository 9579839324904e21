package compress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	readBuffer = 256 << 10
	// readWindow bounds the memory that a zstd frame may ask for, in bytes: what `zstd --long` and `--ultra` make without
	// telling the reader to allow more.
	readWindow = 128 << 20
	// magicSize is how much of a stream its first look takes.
	magicSize = 512
)

// UnreadableError says that a stream is compressed in a way that Kiln does not read.
type UnreadableError struct{ Compression string }

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("it is compressed with %s, and Kiln reads gzip and zstd: make it again with one of them", e.Compression)
}

// unreadable are streams that others make, by their first bytes.
var unreadable = []struct{ name, magic string }{
	{"xz", "\xfd7zXZ\x00"},
	{"bzip2", "BZh?1AY&SY"},                   // ? is the block size
	{"bzip2", "BZh?\x17\x72\x45\x38\x50\x90"}, // of no bytes
	{"lz4", "\x04\x22\x4d\x18"},
	{"lz4", "\x02\x21\x4c\x18"}, // as the Linux kernel's build makes it
	{"lzma", "\x5d\x00\x00??\xff\xff\xff\xff\xff\xff\xff\xff"},
	{"lzip", "LZIP\x01"},
	{"lzop", "\x89LZO\x00\x0d\x0a\x1a\x0a"},
	{"compress", "\x1f\x9d"},
	{"snappy", "\xff\x06\x00\x00sNaPpY"},
	{"zip", "PK\x03\x04"},
	{"7-Zip", "7z\xbc\xaf\x27\x1c"},
}

// NameOf tells a stream's compression by its first bytes, at least 512 where there are as many: NameGzip, NameZstd, or ""
// for none. *UnreadableError for one that Kiln does not read.
func NameOf(head []byte) (string, error) {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}): // RFC 1952 §2.3.1
		return NameGzip, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), // RFC 8878 §3.1.1
		len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}): // a frame to skip, §3.1.2
		return NameZstd, nil
	case len(head) >= 262 && string(head[257:262]) == "ustar": // a tar whose first file has such a name (POSIX.1, ustar)
		return "", nil
	}
	for _, u := range unreadable {
		if hasMagic(head, u.magic) {
			return "", &UnreadableError{u.name}
		}
	}
	return "", nil
}

// hasMagic compares the first bytes, '?' standing for any.
func hasMagic(head []byte, magic string) bool {
	if len(head) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != head[i] {
			return false
		}
	}
	return true
}

// NewReader undoes the compression of r, which it tells by the first bytes, and returns its name: NameGzip, NameZstd, or "" when there
// is none and r is read as it is. Close frees memory and does not close r.
func NewReader(r io.Reader) (plain io.ReadCloser, name string, err error) {
	buffered := bufio.NewReaderSize(r, readBuffer)
	head, err := buffered.Peek(magicSize)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	if name, err = NameOf(head); err != nil {
		return nil, "", err
	}
	switch name {
	case NameGzip:
		plain, err = newGzipReader(buffered)
	case NameZstd:
		plain, err = newZstdReader(buffered)
	default:
		plain = io.NopCloser(buffered)
	}
	return plain, name, err
}

// gzipReader reads the members of a file one after the other. Zeros after the last are padding, as GNU gzip has it ("gzip -d" of a
// file on a tape or in blocks of a fixed size); gzip.Reader takes them for a broken member.
type gzipReader struct {
	in *bufio.Reader
	*gzip.Reader
}

func newGzipReader(in *bufio.Reader) (io.ReadCloser, error) {
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &gzipReader{in, z}, nil
}

func (g *gzipReader) Read(p []byte) (n int, err error) {
	for n == 0 && err == nil && len(p) > 0 {
		if n, err = g.Reader.Read(p); err != io.EOF {
			continue
		}
		if err = g.next(); err != nil || n > 0 {
			return n, err
		}
	}
	return n, err
}

var errAfterGzip = errors.New("after the end of the gzip data comes something that is neither gzip nor padding with zeros")

// next goes on to the next member; io.EOF when there is none.
func (g *gzipReader) next() error {
	switch head, err := g.in.Peek(2); {
	case len(head) == 0:
		return err
	case head[0] == 0:
		return g.padding()
	case len(head) < 2 || head[0] != 0x1f || head[1] != 0x8b:
		return errAfterGzip
	}
	if err := g.Reset(g.in); err != nil {
		return err
	}
	g.Multistream(false)
	return nil
}

// padding reads zeros to the end.
func (g *gzipReader) padding() error {
	for {
		c, err := g.in.ReadByte()
		if err != nil {
			return err
		}
		if c != 0 {
			return errAfterGzip
		}
	}
}

// zstdReader explains the one error of the decoder that says nothing to a person.
type zstdReader struct{ io.ReadCloser }

func newZstdReader(in io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(readWindow))
	if err != nil {
		return nil, err
	}
	return zstdReader{z.IOReadCloser()}, nil
}

func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.ReadCloser.Read(p)
	if errors.Is(err, zstd.ErrMagicMismatch) {
		err = errors.New("after the end of the zstd data comes something that is no frame of zstd")
	}
	return n, err
}
