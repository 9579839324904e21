package uki

import (
	"context"
	"crypto/sha256"
	"io"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

const (
	// certificateAlign is what attribute certificates, and so the file before them, are padded to.
	certificateAlign = 8
	readSize         = 256 << 10

	notAnEFIProgram = "only 64-bit EFI programs can be signed"
)

// AuthenticodeDigest is the SHA-256 that a signature of the EFI program list is made over; data reads the list's bytes.
// It leaves out what signing changes (Authenticode PE specification, "Calculating the PE Image Hash"), so a signed
// image has the digest it had before. That of an unsigned one whose length is no multiple of 8 is with the padding
// that Attach adds.
func AuthenticodeDigest(ctx context.Context, list *extents.List, data io.ReaderAt) ([32]byte, error) {
	var sum [32]byte
	m, err := parse(data, list.Size())
	if err != nil {
		return sum, blame(err, "the EFI program to be signed", notAnEFIProgram)
	}
	if m.security == 0 {
		return sum, step.Failf("the EFI program to be signed has no place for a signature in its headers; %s", notAnEFIProgram)
	}
	h := sha256.New()
	buf := make([]byte, readSize)
	add := func(from, to int64) {
		for from < to && err == nil {
			if err = ctx.Err(); err != nil {
				return
			}
			p := buf[:min(to-from, readSize)]
			var n int
			if n, err = data.ReadAt(p, from); n < len(p) {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return
			}
			err = nil
			h.Write(p)
			from += int64(len(p))
		}
	}
	checkSum := m.optional + checkSumAt
	add(0, checkSum)
	add(checkSum+checkSumLen, m.security)
	add(m.security+directoryLen, m.sizeOfHeaders)
	hashed := m.sizeOfHeaders
	for _, s := range m.inOrder() {
		if hashed += s.rawSize; hashed > m.size {
			return sum, step.Failf("the EFI program to be signed cannot be used: its sections overlap; %s", notAnEFIProgram)
		}
		add(s.raw, s.raw+s.rawSize)
	}
	// What is left is counted, not looked for: where sections have gaps between them this is not what follows the last.
	end := m.size - m.certSize
	if hashed > end {
		return sum, step.Failf("the EFI program to be signed cannot be used: its sections overlap its signatures; %s", notAnEFIProgram)
	}
	add(hashed, end)
	if err != nil {
		return sum, blame(err, "the EFI program to be signed", notAnEFIProgram)
	}
	if m.certSize == 0 {
		h.Write(make([]byte, align(end, certificateAlign)-end))
	}
	h.Sum(sum[:0])
	return sum, nil
}
