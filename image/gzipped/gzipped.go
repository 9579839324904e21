package gzipped

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
)

const (
	// maxStored is the longest stored block in bytes (RFC 1951, 3.2.4).
	maxStored = 1<<16 - 1
	// minZeros is the shortest run of zeros that is worth codes of its own: these and their end take up to a hundred bytes.
	minZeros = 1024
	// readSize is how much of the contents is in memory at once.
	readSize = 256 << 10
)

// header is a member without anything optional, made on an unknown system (RFC 1952, 2.3).
var header = [10]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// Wrap makes a gzip file of a list. data are the list's bytes, as artifact.Open reads them.
func Wrap(ctx context.Context, list *extents.List, data io.ReaderAt) (*extents.List, error) {
	w := &writer{ctx: ctx, data: data, out: extents.Bytes(header[:])}
	w.bits.out = w.out
	for _, e := range list.Runs() {
		var err error
		if e.Inline == nil && e.Blob.IsZero() && e.Length >= minZeros {
			w.store()
			w.bits.zeros(e.Length)
			w.crc = appendZeros(w.crc, e.Length)
		} else {
			w.pending.Add(e)
			err = w.sum(e)
		}
		if err != nil {
			return nil, fmt.Errorf("compress a file of %d bytes: %w", list.Size(), err)
		}
		w.at += e.Length
	}
	w.store()
	w.bits.end()
	var trailer [8]byte
	binary.LittleEndian.PutUint32(trailer[:], w.crc)
	binary.LittleEndian.PutUint32(trailer[4:], uint32(list.Size()))
	w.out.Bytes(trailer[:])
	return w.out, nil
}

// writer goes through a list once.
type writer struct {
	ctx     context.Context
	data    io.ReaderAt
	out     *extents.List
	bits    bits
	pending extents.List // what is to be stored before the next run of zeros
	at      int64        // in the list
	crc     uint32
	buf     []byte
}

// store writes what is pending, as stored blocks.
func (w *writer) store() {
	var block []artifact.Extent
	var size int64
	emit := func() {
		if size > 0 {
			w.bits.storedHeader(uint16(size))
			w.out.Add(block...)
			block, size = block[:0], 0
		}
	}
	for _, e := range w.pending.Runs() {
		for e.Length > 0 {
			part := e
			part.Length = min(e.Length, maxStored-size)
			switch {
			case e.Inline != nil:
				part.Inline, e.Inline = e.Inline[:part.Length], e.Inline[part.Length:]
			case !e.Blob.IsZero():
				e.Offset += part.Length
			}
			e.Length -= part.Length
			block = append(block, part)
			if size += part.Length; size == maxStored {
				emit()
			}
		}
	}
	emit()
	w.pending = extents.List{}
}

// sum adds a run to the checksum.
func (w *writer) sum(e artifact.Extent) error {
	switch {
	case e.Inline != nil:
		w.crc = crc32.Update(w.crc, crc32.IEEETable, e.Inline)
		return nil
	case e.Blob.IsZero():
		w.crc = appendZeros(w.crc, e.Length)
		return nil
	}
	if w.buf == nil {
		w.buf = make([]byte, readSize)
	}
	for done := int64(0); done < e.Length; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		p := w.buf[:min(e.Length-done, readSize)]
		if n, err := w.data.ReadAt(p, w.at+done); n < len(p) {
			return fmt.Errorf("read at byte %d: %w", w.at+done, err)
		}
		w.crc = crc32.Update(w.crc, crc32.IEEETable, p)
		done += int64(len(p))
	}
	return nil
}
