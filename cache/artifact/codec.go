package artifact

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/kiln-farm/kiln/cache"
)

// The encoding of an artifact's description, which is a blob itself, so that equal artifacts have equal
// descriptions: every Artifact has exactly one encoding, and Decode accepts no other. Numbers are
// unsigned varints in their shortest form.
//
//	magic
//	flags      1 when the artifact has a digest
//	digest     32 bytes, when it has one
//	size
//	blobs      how many, then 32 bytes each, in the order of their first use
//	extents    how many, then for each: kind, length, and
//	           kind 1: the bytes; kind 2: index of the blob, offset in it; kind 0 (zeros): nothing
//
// Extents are never empty, and neighbours that continue each other (zeros, one blob) are one.
const (
	magic = "kilnart\x01"

	kindZeros  = 0
	kindInline = 1
	kindBlob   = 2

	// maxExtents bounds what a description can make its reader allocate, to some 100 MB at worst. Small files are
	// gathered into one blob by whoever makes descriptions, so that real ones have few extents.
	maxExtents = 1 << 20
	// MaxEncoding is the size, in bytes, beyond which a description is refused.
	MaxEncoding = 64 << 20
)

// check says what is wrong with a's extents.
func (a *Artifact) check() error {
	var total int64
	for i, e := range a.Extents {
		switch {
		case e.Length < 0 || e.Offset < 0:
			return fmt.Errorf("artifact extent %d has a negative length or offset", i)
		case e.Inline != nil && int64(len(e.Inline)) != e.Length:
			return fmt.Errorf("artifact extent %d has %d bytes inline and says %d", i, len(e.Inline), e.Length)
		case e.Inline != nil && (!e.Blob.IsZero() || e.Offset != 0), e.Blob.IsZero() && e.Offset != 0:
			return fmt.Errorf("artifact extent %d is of two kinds at once", i)
		case e.Length > math.MaxInt64-e.Offset || e.Length > math.MaxInt64-total:
			return fmt.Errorf("artifact extent %d ends beyond the largest possible file", i)
		}
		total += e.Length
	}
	if total != a.Size {
		return fmt.Errorf("artifact of %d bytes has extents of %d", a.Size, total)
	}
	return nil
}

// normal returns extents without empty ones and with neighbours joined.
func normal(extents []Extent) []Extent {
	out := make([]Extent, 0, len(extents))
	for _, e := range extents {
		if e.Length == 0 {
			continue
		}
		if n := len(out); n > 0 && e.Inline == nil && out[n-1].Inline == nil && out[n-1].Blob == e.Blob &&
			(e.Blob.IsZero() || out[n-1].Offset+out[n-1].Length == e.Offset) {
			out[n-1].Length += e.Length
			continue
		}
		out = append(out, e)
	}
	return out
}

// Encode writes a description. It fails on one that Decode would refuse.
func Encode(a *Artifact) ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	extents := normal(a.Extents)
	if len(extents) > maxExtents {
		return nil, fmt.Errorf("artifact has %d extents; at most %d are possible", len(extents), maxExtents)
	}
	b := []byte(magic)
	if a.Digest.IsZero() {
		b = append(b, 0)
	} else {
		sum := a.Digest.Sum()
		b = append(append(b, 1), sum[:]...)
	}
	b = binary.AppendUvarint(b, uint64(a.Size))

	index := map[cache.Digest]uint64{}
	var table []byte
	for _, e := range extents {
		if _, ok := index[e.Blob]; !ok && !e.Blob.IsZero() {
			index[e.Blob] = uint64(len(index))
			sum := e.Blob.Sum()
			table = append(table, sum[:]...)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(index)))
	b = append(b, table...)
	b = binary.AppendUvarint(b, uint64(len(extents)))
	for _, e := range extents {
		switch {
		case e.Inline != nil:
			b = append(binary.AppendUvarint(append(b, kindInline), uint64(e.Length)), e.Inline...)
		case !e.Blob.IsZero():
			b = binary.AppendUvarint(append(b, kindBlob), uint64(e.Length))
			b = binary.AppendUvarint(binary.AppendUvarint(b, index[e.Blob]), uint64(e.Offset))
		default:
			b = binary.AppendUvarint(append(b, kindZeros), uint64(e.Length))
		}
	}
	if len(b) > MaxEncoding {
		return nil, fmt.Errorf("artifact description of %d bytes; at most %d are possible", len(b), MaxEncoding)
	}
	return b, nil
}

var errEncoding = errors.New("not an artifact description")

// Decode reads what Encode wrote, and nothing else.
func Decode(b []byte) (*Artifact, error) {
	if len(b) > MaxEncoding {
		return nil, fmt.Errorf("%w: %d bytes are too many", errEncoding, len(b))
	}
	d := &decoder{rest: b}
	if string(d.bytes(uint64(len(magic)))) != magic {
		return nil, fmt.Errorf("%w: it starts with other bytes", errEncoding)
	}
	a := &Artifact{}
	if flags := d.bytes(1); len(flags) == 1 && flags[0] == 1 {
		a.Digest = d.digest()
	}
	a.Size = d.number()
	blobs := make([]cache.Digest, d.count(32))
	for i := range blobs {
		blobs[i] = d.digest()
	}
	a.Extents = make([]Extent, d.count(2))
	for i := range a.Extents {
		a.Extents[i] = d.extent(blobs)
	}
	if d.bad || len(d.rest) > 0 {
		return nil, fmt.Errorf("%w: cut short or damaged", errEncoding)
	}
	again, err := Encode(a)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errEncoding, err)
	}
	if !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: not in its one possible form", errEncoding)
	}
	return a, nil
}

// decoder reads from rest; after the first fault bad is set and everything it gives is zero.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) bytes(n uint64) []byte {
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	out := d.rest[:n:n]
	d.rest = d.rest[n:]
	return out
}

func (d *decoder) number() int64 {
	v, n := binary.Uvarint(d.rest)
	if d.bad || n <= 0 || v > math.MaxInt64 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return int64(v)
}

// count reads how many things of at least size bytes follow; never more than there is room for.
func (d *decoder) count(size int) int {
	n := d.number()
	if n > int64(len(d.rest)/size) || n > maxExtents {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) digest() cache.Digest {
	b := d.bytes(32)
	if b == nil {
		return cache.Digest{}
	}
	return cache.FromSum([32]byte(b))
}

func (d *decoder) extent(blobs []cache.Digest) Extent {
	kind := d.bytes(1)
	if kind == nil {
		return Extent{}
	}
	e := Extent{Length: d.number()}
	switch kind[0] {
	case kindZeros:
	case kindInline:
		e.Inline = bytes.Clone(d.bytes(uint64(e.Length)))
	case kindBlob:
		i := d.number()
		if i >= int64(len(blobs)) {
			d.bad = true
			return Extent{}
		}
		e.Blob, e.Offset = blobs[i], d.number()
	default:
		d.bad = true
	}
	return e
}
