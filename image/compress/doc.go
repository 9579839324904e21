// Package compress compresses initrd parts: streams that the kernel reads one after the other. And it reads what others
// compressed: layers and archives, in all the forms that their tools make of gzip and zstd.
//
// The same bytes in give the same bytes out, on any machine, at any parallelism, and a stream's length is a
// multiple of four (gzip), so that the next part is aligned. Memory does not depend on the input. The package
// decides nothing about what is compressed, and never guesses: a compression that it does not read is named.
package compress
