package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An encoded artifact is the magic, the digest (32 bytes, zeros for none), the size, the number of extents, and each
// extent: a kind byte, its length, and for a blob the number of the digest in the table before it and the offset, for
// inline bytes the bytes. Numbers are varints.
const artifactMagic = "kiln artifact 1\n"

const (
	extentZeros  = 0
	extentBlob   = 1
	extentInline = 2
)

// ErrArtifact: the bytes are not an artifact's description.
var ErrArtifact = errors.New("not an artifact description")

// EncodeArtifact is the canonical form of a: equal artifacts give equal bytes.
func EncodeArtifact(a *Artifact) []byte {
	table := map[Digest]uint64{}
	var digests []Digest
	for _, e := range a.Extents {
		if _, ok := table[e.Blob]; !ok && e.Inline == nil && !e.Blob.IsZero() {
			table[e.Blob] = uint64(len(digests))
			digests = append(digests, e.Blob)
		}
	}
	sum := a.Digest.Sum()
	b := append([]byte(artifactMagic), sum[:]...)
	b = binary.AppendUvarint(b, uint64(a.Size))
	b = binary.AppendUvarint(b, uint64(len(digests)))
	for _, d := range digests {
		sum := d.Sum()
		b = append(b, sum[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(a.Extents)))
	for _, e := range a.Extents {
		switch {
		case e.Inline != nil:
			b = binary.AppendUvarint(append(b, extentInline), uint64(len(e.Inline)))
			b = append(b, e.Inline...)
		case !e.Blob.IsZero():
			b = binary.AppendUvarint(append(b, extentBlob), uint64(e.Length))
			b = binary.AppendUvarint(b, table[e.Blob])
			b = binary.AppendUvarint(b, uint64(e.Offset))
		default:
			b = binary.AppendUvarint(append(b, extentZeros), uint64(e.Length))
		}
	}
	return b
}

// DecodeArtifact reads what EncodeArtifact wrote, and checks that the extents' lengths add up to the size.
func DecodeArtifact(b []byte) (*Artifact, error) {
	d := artifactDecoder{rest: b}
	if string(d.bytes(uint64(len(artifactMagic)))) != artifactMagic {
		return nil, fmt.Errorf("%w: no magic", ErrArtifact)
	}
	a := &Artifact{Digest: d.digest()}
	size := d.uint()
	digests := make([]Digest, d.count(32))
	for i := range digests {
		digests[i] = d.digest()
	}
	a.Extents = make([]Extent, d.count(2))
	var sum uint64
	for i := range a.Extents {
		e := &a.Extents[i]
		kind, length := d.bytes(1), d.uint()
		if d.err != nil || length > 1<<62 || sum+length > 1<<62 {
			return nil, fmt.Errorf("%w: extent %d", ErrArtifact, i)
		}
		e.Length = int64(length)
		switch kind[0] {
		case extentInline:
			e.Inline = append([]byte{}, d.bytes(length)...)
		case extentBlob:
			n, offset := d.uint(), d.uint()
			if n >= uint64(len(digests)) || offset > 1<<62 {
				return nil, fmt.Errorf("%w: extent %d", ErrArtifact, i)
			}
			e.Blob, e.Offset = digests[n], int64(offset)
		case extentZeros:
		default:
			return nil, fmt.Errorf("%w: extent %d is of kind %d", ErrArtifact, i, kind[0])
		}
		sum += length
	}
	if d.err != nil || len(d.rest) > 0 || sum != size {
		return nil, fmt.Errorf("%w: its parts do not add up", ErrArtifact)
	}
	a.Size = int64(size)
	return a, nil
}

type artifactDecoder struct {
	rest []byte
	err  error
}

func (d *artifactDecoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.rest, d.err = nil, ErrArtifact
		return nil
	}
	out := d.rest[:n]
	d.rest = d.rest[n:]
	return out
}

func (d *artifactDecoder) uint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.rest, d.err = nil, ErrArtifact
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count is a number of things that take at least size bytes each: more than the rest can hold is an error, not an allocation.
func (d *artifactDecoder) count(size uint64) uint64 {
	n := d.uint()
	if n > uint64(len(d.rest))/size {
		d.rest, d.err = nil, ErrArtifact
		return 0
	}
	return n
}

func (d *artifactDecoder) digest() Digest {
	b := d.bytes(32)
	if b == nil || [32]byte(b) == [32]byte{} {
		return Digest{}
	}
	return FromSum([32]byte(b))
}
