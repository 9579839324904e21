// Package recordfile says how a record lies in a file or an object: what its name ends in, and the trailer by which a
// damaged one is told. Every backend keeps records alike, so that one's directory may be another one's bucket.
//
// It never reads or writes anything and knows nothing of what is in a record.
package recordfile

import (
	"encoding/binary"
	"hash"
	"hash/crc32"
)

// Suffix ends the names of records' files, so that "names/a" and "names/a/b" can both exist. No element
// that Key's constructors make holds a "=".
const Suffix = "="

// A record's file ends with a trailer: a mark, the CRC-32C of the value and its length, little-endian. A file
// that a power cut left short, empty or full of zeros is told by it and counts as absent.
const (
	mark        = 0x314b5243 // "CRK1"
	TrailerSize = 4 + 4 + 8  // bytes
)

// NewSum is the CRC-32C that a trailer has of a value.
func NewSum() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

// AppendTrailer appends the trailer of a value of size bytes with that sum.
func AppendTrailer(b []byte, sum uint32, size int64) []byte {
	b = binary.LittleEndian.AppendUint32(b, mark)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return binary.LittleEndian.AppendUint64(b, uint64(size))
}
