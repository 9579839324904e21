package squashfs

import "encoding/binary"

// metadata is a table of metadata blocks in the making. The first error sticks.
type metadata struct {
	codec   *codec
	out     []byte // blocks that are done
	pending []byte // less than a block
	buf     []byte
	err     error
}

func newMetadata(k *codec) *metadata {
	return &metadata{codec: k, pending: make([]byte, 0, metadataSize)}
}

// here is the place of the next byte.
func (m *metadata) here() reference { return refer(int64(len(m.out)), len(m.pending)) }

func (m *metadata) write(p []byte) {
	for len(p) > 0 {
		n := min(len(p), metadataSize-len(m.pending))
		m.pending = append(m.pending, p[:n]...)
		p = p[n:]
		if len(m.pending) == metadataSize {
			m.flush()
		}
	}
}

// flush ends the block.
func (m *metadata) flush() {
	if len(m.pending) == 0 || m.err != nil {
		return
	}
	block, compressed, err := m.codec.compress(m.buf, m.pending)
	if err != nil {
		m.err = err
		return
	}
	head := uint16(len(block))
	if compressed {
		m.buf = block
	} else {
		head |= uncompressedMetadata
	}
	m.out = append(binary.LittleEndian.AppendUint16(m.out, head), block...)
	m.pending = m.pending[:0]
}

// finish is the whole table.
func (m *metadata) finish() ([]byte, error) {
	m.flush()
	return m.out, m.err
}

// appendTable appends entries as metadata blocks and then, after head, an index: the position of each block. Base is the
// position of b in the image; start that of the head or index, by which the superblock knows the table.
func appendTable(b []byte, base int64, k *codec, entries, head []byte) (out []byte, start uint64, err error) {
	m := newMetadata(k)
	var index []byte
	for len(entries) > 0 {
		n := min(len(entries), metadataSize)
		index = binary.LittleEndian.AppendUint64(index, uint64(base+int64(len(b)+len(m.out))))
		m.write(entries[:n])
		m.flush()
		entries = entries[n:]
	}
	blocks, err := m.finish()
	if err != nil {
		return nil, 0, err
	}
	b = append(b, blocks...)
	start = uint64(base + int64(len(b)))
	return append(append(b, head...), index...), start, nil
}
