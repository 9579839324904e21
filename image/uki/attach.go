package uki

import (
	"io"
	"math"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// An attribute certificate's header, WIN_CERTIFICATE (PE/COFF specification, "The Attribute Certificate Table").
const (
	certificateHeaderLen  = 8
	certificateRevisionAt = 4
	certificateTypeAt     = 6
	certificateRevision   = 0x0200 // WIN_CERT_REVISION_2_0
	certificatePKCS7      = 0x0002 // WIN_CERT_TYPE_PKCS_SIGNED_DATA

	maxSignature  = 1 << 20  // bytes of one
	maxSignatures = 16 << 20 // bytes of all of an image
)

// Attach appends a signature, as Sign makes it, to the EFI program list; data reads the list's bytes, of which only the
// headers are looked at. Signatures that are there already stay: firmware takes a program of which it trusts one.
// It does not look whether the signature fits: compare SignedDigest with AuthenticodeDigest.
func Attach(list *extents.List, data io.ReaderAt, signature []byte) (*extents.List, error) {
	m, err := parse(data, list.Size())
	if err != nil {
		return nil, blame(err, "the EFI program to be signed", notAnEFIProgram)
	}
	if m.security == 0 {
		return nil, step.Failf("the EFI program to be signed has no place for a signature in its headers; %s", notAnEFIProgram)
	}
	if len(signature) == 0 || len(signature) > maxSignature {
		return nil, step.Failf("a signature of %d bytes is none; give a PKCS #7 signature in DER, as sbsign --detached makes it", len(signature))
	}
	length := certificateHeaderLen + len(signature)
	certificate := make([]byte, align(int64(length), certificateAlign))
	le.PutUint32(certificate, uint32(length))
	le.PutUint16(certificate[certificateRevisionAt:], certificateRevision)
	le.PutUint16(certificate[certificateTypeAt:], certificatePKCS7)
	copy(certificate[certificateHeaderLen:], signature)

	start, size := m.certStart, m.certSize+int64(len(certificate))
	if m.certSize == 0 {
		start = align(m.size, certificateAlign)
	}
	if start+size > math.MaxUint32 || size > maxSignatures {
		return nil, step.Failf("the EFI program to be signed is too large for one more signature; it can have 4 GiB with all of them")
	}
	if m.certSize%certificateAlign != 0 || start%certificateAlign != 0 {
		return nil, step.Failf("the signatures of the EFI program to be signed are not aligned to %d bytes; sign an unsigned one", certificateAlign)
	}
	directory := le.AppendUint32(le.AppendUint32(nil, uint32(start)), uint32(size))
	checkSum := m.optional + checkSumAt
	out := list.Slice(0, checkSum)
	out.Zeros(checkSumLen)
	afterSum := checkSum + checkSumLen
	out.Append(list.Slice(afterSum, m.security-afterSum))
	out.Bytes(directory)
	out.Append(list.Slice(m.security+directoryLen, m.size-m.security-directoryLen))
	out.Align(certificateAlign)
	out.Bytes(certificate)
	return out, nil
}
