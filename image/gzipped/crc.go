package gzipped

// polynomial is that of CRC-32, with its highest power in the lowest bit, as the register has it.
const polynomial = 0xedb88320

// one is the polynomial 1 in that order.
const one = 1 << 31

// appendZeros is the CRC-32 of what crc is of and n zero bytes after it. A zero byte multiplies the register by x^8.
func appendZeros(crc uint32, n int64) uint32 {
	power, square := uint32(one), uint32(one>>8) // x^0 and x^8
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			power = multiply(power, square)
		}
		square = multiply(square, square)
	}
	return ^multiply(^crc, power)
}

// multiply is the product of two polynomials modulo that of CRC-32.
func multiply(a, b uint32) (product uint32) {
	for bit := uint32(one); bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		// b times x
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= polynomial
		}
	}
	return product
}
