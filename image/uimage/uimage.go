// Package uimage puts U-Boot's legacy header before a file, as its tool mkimage does.
//
// Boards that start with U-Boot take their kernel, initrd and boot script (boot.scr) in this form: the header says what
// the file is and where it goes in memory, and has checksums, which U-Boot checks. Wrap reads the content once for
// its checksum and gives a list of extents: the content is not copied, however large it is.
//
// Source: U-Boot, include/image.h ("struct legacy_img_hdr") and tools/default_image.c. Numbers are big endian.
//
// It never looks at the clock: the time in the header is an option. Nor does it compress: Compression says how the
// content is compressed already.
package uimage

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// OS is the system that an image belongs to.
type OS uint8

// Systems that Kiln makes images of.
const (
	Linux OS = 5
	UBoot OS = 17
	EFI   OS = 28
)

// Arch is the processor that an image is for.
type Arch uint8

// Processors that Kiln builds for.
const (
	ARM    Arch = 2
	I386   Arch = 3
	ARM64  Arch = 22
	X86_64 Arch = 24
	RISCV  Arch = 26
)

// ArchOf is the processor of an architecture as Go and OCI name it; false when U-Boot has none here.
func ArchOf(arch string) (Arch, bool) {
	a, ok := map[string]Arch{"arm": ARM, "386": I386, "arm64": ARM64, "amd64": X86_64, "riscv64": RISCV}[arch]
	return a, ok
}

// Type is what an image is.
type Type uint8

// Types of images of one part.
const (
	Standalone   Type = 1
	Kernel       Type = 2
	RAMDisk      Type = 3
	Firmware     Type = 5
	Script       Type = 6 // text of U-Boot commands; a table of sizes goes before it
	Filesystem   Type = 7
	DeviceTree   Type = 8
	KernelNoLoad Type = 14 // a kernel that runs where it is

	multi Type = 4 // many parts, which Wrap does not take
)

// Compression is how the content is compressed.
type Compression uint8

// Compressions that U-Boot undoes.
const (
	None  Compression = 0
	Gzip  Compression = 1
	Bzip2 Compression = 2
	LZMA  Compression = 3
	LZO   Compression = 4
	LZ4   Compression = 5
	Zstd  Compression = 6
)

// Header is what the header says of the content.
type Header struct {
	OS          OS
	Arch        Arch
	Type        Type
	Compression Compression
	Load, Entry uint32    // addresses in memory: where U-Boot puts the content and where it starts it
	Name        string    // up to 32 bytes, for people
	Time        time.Time // in seconds from 1970 to 2106; the zero Time is 1970
}

// The header's fields, by their offsets in bytes.
const (
	magicAt       = 0
	headerSumAt   = 4
	timeAt        = 8
	sizeAt        = 12 // of the content, with a script's table
	loadAt        = 16
	entryAt       = 20
	contentSumAt  = 24
	osAt          = 28
	archAt        = 29
	typeAt        = 30
	compressionAt = 31
	nameAt        = 32
	headerLen     = 64
	maxName       = headerLen - nameAt

	magic = 0x27051956

	// scriptTable is the length of a table of one size and the zero that ends it.
	scriptTable = 8
	readSize    = 256 << 10
)

// Wrap is the header and the content, whose bytes data reads.
func Wrap(ctx context.Context, content *extents.List, data io.ReaderAt, h Header) (*extents.List, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	var table []byte
	if h.Type == Script {
		table = binary.BigEndian.AppendUint32(nil, uint32(min(content.Size(), math.MaxUint32)))
		table = append(table, make([]byte, scriptTable-len(table))...)
	}
	size := int64(len(table)) + content.Size()
	if size > math.MaxUint32 {
		return nil, step.Failf("%s has %d bytes, and U-Boot takes images of less than 4 GiB; leave something out", h.what(), content.Size())
	}
	if content.Size() == 0 {
		return nil, step.Failf("%s is empty, and U-Boot starts no empty images; give one with content", h.what())
	}
	sum, err := checksum(ctx, crc32.ChecksumIEEE(table), data, content.Size())
	if err != nil {
		return nil, err
	}
	out := extents.Bytes(append(h.encode(uint32(size), sum), table...))
	out.Append(content)
	return out, nil
}

// check refuses what the header cannot say.
func (h Header) check() error {
	if len(h.Name) > maxName || strings.ContainsRune(h.Name, 0) {
		return step.Failf("U-Boot's name of an image has up to %d bytes and no NUL, and %q is none; give a shorter one", maxName, h.Name)
	}
	if s := h.seconds(); s < 0 || s > math.MaxUint32 {
		return step.Failf("U-Boot's header has times from 1970 to 2106, and %s is outside; give another one", h.Time.UTC().Format(time.RFC3339))
	}
	if h.Type == multi {
		return step.Failf("U-Boot images of many files are not made here; wrap each file, and name them all in the boot script")
	}
	return nil
}

func (h Header) seconds() int64 {
	if h.Time.IsZero() {
		return 0
	}
	return h.Time.Unix()
}

// what names the image in errors.
func (h Header) what() string {
	if h.Name == "" {
		return "the U-Boot image"
	}
	return "the U-Boot image " + h.Name
}

// encode is the header of a content with that size and checksum. Its own checksum is over itself with a zero there.
func (h Header) encode(size, sum uint32) []byte {
	p := make([]byte, headerLen)
	binary.BigEndian.PutUint32(p[magicAt:], magic)
	binary.BigEndian.PutUint32(p[timeAt:], uint32(h.seconds()))
	binary.BigEndian.PutUint32(p[sizeAt:], size)
	binary.BigEndian.PutUint32(p[loadAt:], h.Load)
	binary.BigEndian.PutUint32(p[entryAt:], h.Entry)
	binary.BigEndian.PutUint32(p[contentSumAt:], sum)
	p[osAt], p[archAt], p[typeAt], p[compressionAt] = byte(h.OS), byte(h.Arch), byte(h.Type), byte(h.Compression)
	copy(p[nameAt:], h.Name)
	binary.BigEndian.PutUint32(p[headerSumAt:], crc32.ChecksumIEEE(p))
	return p
}

// checksum goes on from the sum of what is before, over size bytes of data.
func checksum(ctx context.Context, sum uint32, data io.ReaderAt, size int64) (uint32, error) {
	buf := make([]byte, min(size, readSize))
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		p := buf[:min(size-off, readSize)]
		if n, err := data.ReadAt(p, off); n < len(p) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		sum = crc32.Update(sum, crc32.IEEETable, p)
		off += int64(len(p))
	}
	return sum, nil
}
