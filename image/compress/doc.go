// Package compress compresses initrd parts: streams that the kernel reads one after the other.
//
// The same bytes in give the same bytes out, on any machine, at any parallelism, and a stream's length is a
// multiple of four (gzip), so that the next part is aligned. Memory does not depend on the input. The package only
// compresses; it decides nothing about what.
package compress
