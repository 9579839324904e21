package verity

import (
	"crypto/sha256"
	"encoding/binary"
)

// superblock is the block before the tree: cryptsetup's struct verity_sb, and zeros.
func (t *Tree) superblock() []byte {
	b, le := make([]byte, BlockSize), binary.LittleEndian
	copy(b, "verity\x00\x00")
	le.PutUint32(b[8:], 1)  // version
	le.PutUint32(b[12:], 1) // the normal hash type: salt before the block
	copy(b[16:], t.UUID[:])
	copy(b[32:], "sha256")
	le.PutUint32(b[64:], BlockSize) // of data
	le.PutUint32(b[68:], BlockSize) // of hashes
	le.PutUint64(b[72:], uint64(t.Blocks))
	le.PutUint16(b[80:], uint16(len(t.Salt)))
	copy(b[88:], t.Salt)
	return b
}

// identify makes a UUID of a root hash, in the form of RFC 9562 §5.8.
func identify(root [hashSize]byte) (uuid [16]byte) {
	sum := sha256.Sum256(append([]byte("kiln dm-verity uuid 1\n"), root[:]...))
	copy(uuid[:], sum[:])
	uuid[6] = uuid[6]&0x0f | 0x80
	uuid[8] = uuid[8]&0x3f | 0x80
	return uuid
}
