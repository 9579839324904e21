package part

import (
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/kiln-farm/kiln/image/step"
)

// Offsets in a bzImage (Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").
const (
	setupSectsAt     = 0x1f1
	bootFlagAt       = 0x1fe
	headerMagicAt    = 0x202
	versionAt        = 0x206
	payloadOffsetAt  = 0x248
	payloadLengthAt  = 0x24c
	bzImageHeaderLen = 0x250
	sector           = 512
	// sizeWord follows a zstd payload: the size of the kernel (Linux arch/x86/boot/compressed/Makefile).
	sizeWord = 4
)

// decompressKernel writes the kernel within a gzip file or a bzImage whose payload is gzip or zstd.
func decompressKernel(w io.Writer, kernel *io.SectionReader) error {
	head := make([]byte, bzImageHeaderLen)
	n, err := kernel.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	head = head[:n]
	if done, err := inflate(w, kernel, 0); done {
		return err
	}
	if len(head) < bzImageHeaderLen || binary.LittleEndian.Uint16(head[bootFlagAt:]) != 0xaa55 || string(head[headerMagicAt:headerMagicAt+4]) != "HdrS" {
		return step.Failf("the kernel is neither compressed nor a bzImage; leave out --decompress-kernel")
	}
	if binary.LittleEndian.Uint16(head[versionAt:]) < 0x208 {
		return step.Failf("the kernel's boot protocol is older than 2.08, so its payload cannot be found; leave out --decompress-kernel")
	}
	offset := int64(head[setupSectsAt])*sector + sector + int64(binary.LittleEndian.Uint32(head[payloadOffsetAt:]))
	length := int64(binary.LittleEndian.Uint32(head[payloadLengthAt:]))
	if length > kernel.Size() || offset > kernel.Size()-length {
		return step.Failf("the kernel's payload is beyond its end; the kernel image is damaged")
	}
	if done, err := inflate(w, io.NewSectionReader(kernel, offset, length), sizeWord); done {
		return err
	}
	return step.Failf("the kernel's payload is compressed with something other than gzip or zstd; leave out --decompress-kernel")
}

// inflate decompresses r when its first bytes say how; tail bytes at the end of r are not part of a zstd stream.
func inflate(w io.Writer, r *io.SectionReader, tail int64) (done bool, err error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil {
		return false, nil
	}
	var z io.Reader
	switch {
	case magic[0] == 0x1f && magic[1] == 0x8b:
		g, err := gzip.NewReader(r)
		if err != nil {
			return true, damaged(err)
		}
		g.Multistream(false) // what follows is not the kernel's
		z = g
	case magic == [4]byte{0x28, 0xb5, 0x2f, 0xfd}:
		d, err := zstd.NewReader(io.LimitReader(r, r.Size()-tail), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return true, damaged(err)
		}
		defer d.Close()
		z = d
	default:
		return false, nil
	}
	buf := make([]byte, 128<<10)
	for {
		n, err := z.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return true, err
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return true, damaged(err)
		}
	}
}

// maxWindow is what the kernel's own zstd decoder takes at most (Linux lib/zstd).
const maxWindow = 128 << 20

func damaged(err error) error {
	return step.Failf("the kernel cannot be decompressed: %w; pull or make the kernel image again", err)
}
