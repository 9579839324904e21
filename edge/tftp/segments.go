package tftp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
)

const (
	mostSegments = 64    // packets that the kernel makes of one write (UDP_MAX_SEGMENTS of older ones)
	mostBytes    = 65000 // of one write: an IP packet has 65,535 with its headers
)

// segmenter is a line that sends several packets in one call. All have size bytes, the last one may have less.
type segmenter interface {
	WriteSegments(b []byte, size int) error
}

// trains are buffers for several packets. A sender has one only while it sends.
var trains = sync.Pool{New: func() any { b := make([]byte, mostBytes); return &b }}

// sendTrain sends as many blocks from next up to one as go into one call; it tells how many it sent.
func (s *sender) sendTrain(to int64, line segmenter) (int64, error) {
	size := headerLen + s.block
	n := min(to-s.next+1, mostSegments, int64(mostBytes/size))
	if n < 2 {
		return 0, nil
	}
	buffer := trains.Get().(*[]byte)
	defer trains.Put(buffer)
	b := *buffer
	offset := (s.next - 1) * int64(s.block)
	bytes := int(min(n*int64(s.block), s.size-offset)) // the last block may be short, or empty
	data := b[int(n)*headerLen:][:bytes]
	if got, err := s.file.ReadAt(data, offset); got < bytes {
		return 0, fmt.Errorf("read %d bytes at %d: %w", bytes, offset, err)
	}
	end := 0
	for i := range int(n) { // each block goes forward, or stays, so that none is overwritten
		part := data[min(i*s.block, bytes):min((i+1)*s.block, bytes)]
		copy(b[i*size+headerLen:], part)
		putHeader(b[i*size:], s.next+int64(i))
		end = i*size + headerLen + len(part)
	}
	err := line.WriteSegments(b[:end], size)
	switch {
	case err == nil, errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, net.ErrClosed):
	default:
		s.oneByOne = true
		return 0, nil
	}
	if err = s.excuse(err); err != nil {
		return 0, err
	}
	for i := range n {
		if s.next+i <= s.highest {
			s.resent++
		}
	}
	return n, nil
}
