package cache

import (
	"encoding/binary"
	"hash"
	"hash/crc32"
)

// recordSuffix ends the names of records' files, so that "names/a" and "names/a/b" can both exist. No element
// that Key's constructors make holds a "=".
const recordSuffix = "="

// A record's file ends with a trailer: a mark, the CRC-32C of the value and its length, little-endian. A file
// that a power cut left short, empty or full of zeros is told by it and counts as absent.
const (
	recordMark    = 0x314b5243 // "CRK1"
	recordTrailer = 4 + 4 + 8
)

func newRecordSum() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

func appendTrailer(b []byte, sum uint32, size int64) []byte {
	b = binary.LittleEndian.AppendUint32(b, recordMark)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return binary.LittleEndian.AppendUint64(b, uint64(size))
}
