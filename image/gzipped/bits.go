package gzipped

import "github.com/kiln-farm/kiln/image/extents"

// longestMatch is the longest repetition that deflate has a code for, in bytes.
const longestMatch = 258

// inlineZeros is how many zero bytes of codes are written inline: a run of its own costs as much.
const inlineZeros = 32

// bits writes deflate blocks: bits from the lowest of each byte on (RFC 1951, 3.1.1).
type bits struct {
	out  *extents.List
	buf  []byte // whole bytes that are not in out yet
	acc  uint64 // the bits after them
	used uint   // how many, up to 7 between calls
}

// put writes the n lowest bits of v, up to 32.
func (b *bits) put(v uint64, n uint) {
	b.acc |= v << b.used
	for b.used += n; b.used >= 8; b.used -= 8 {
		b.buf = append(b.buf, byte(b.acc))
		b.acc >>= 8
	}
}

// align fills up the last byte and moves all to the list.
func (b *bits) align() {
	if b.used > 0 {
		b.put(0, 8-b.used)
	}
	b.out.Bytes(b.buf)
	b.buf = nil
}

// putZeros writes n zero bits.
func (b *bits) putZeros(n int64) {
	for ; b.used > 0 && n > 0; n-- {
		b.put(0, 1)
	}
	if n >= inlineZeros*8 {
		b.align()
		b.out.Zeros(n / 8)
		n %= 8
	}
	for ; n > 0; n-- {
		b.put(0, 1)
	}
}

// storedHeader begins a stored block of n bytes, which follow in the list.
func (b *bits) storedHeader(n uint16) {
	b.put(0, 3)
	if b.used > 0 {
		b.put(0, 8-b.used)
	}
	b.put(uint64(n), 16)
	b.put(uint64(^n), 16)
	b.align()
}

// end writes a last block, which is empty and has fixed codes, and fills up the byte.
func (b *bits) end() {
	b.put(1|1<<1, 3)
	b.put(0, 7)
	b.align()
}

// zeros writes a block of n zero bytes, n > 0: a zero as it is, and repetitions of the byte before, 258 at a time.
//
// The codes of the block (RFC 1951, 3.2.7) are 0 for a repetition of 258 bytes (symbol 285), 10 for a zero and 11 for the
// end (symbol 256), and 0 for a distance of one byte: two zero bits are 258 zero bytes.
func (b *bits) zeros(n int64) {
	b.put(2<<1, 3)  // not the last block; dynamic codes
	b.put(29, 5)    // 286 symbols of literals and lengths
	b.put(0, 5)     // one of distances
	b.put(18-4, 4)  // 18 lengths of the codes that the code lengths are told by, in an order of their own:
	b.put(1<<6, 30) // 16, 17, 18: one bit, 0, 8, 7, 9, 6, 10, 5
	b.put(2<<15|2<<21, 24)
	// Those codes are 0 for symbol 18, 10 for 1 and 11 for 2. Codes are written from their highest bit on.
	const two, one = 3, 1
	repeat := func(n uint64) { b.put((n-11)<<1, 8) } // symbol 18: the length 0, 11 to 138 times
	b.put(two, 2)                                    // symbol 0
	repeat(138)
	repeat(117)   // to symbol 255
	b.put(two, 2) // symbol 256
	repeat(28)    // to symbol 284
	b.put(one, 2) // symbol 285
	b.put(one, 2) // the distance

	const literal, end = 1, 3
	for range (n-1)%longestMatch + 1 {
		b.put(literal, 2)
	}
	b.putZeros((n - 1) / longestMatch * 2)
	b.put(end, 2)
}
