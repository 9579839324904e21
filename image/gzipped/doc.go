// Package gzipped makes gzip files of files that are elsewhere, without compressing what is compressed already.
//
// Clouds take disks as .gz alone, and a disk of ours is zeros around a compressed initrd or root filesystem. Wrap stores contents in
// blocks as they are (they stay ranges of their blobs, with 5 bytes before every 65,535) and compresses nothing but the runs of
// zeros that the list knows, to a thousandth. The codes in those are chosen so that long runs of zeros are zeros when they are
// compressed, too: however large the disk is, they take a few bytes of the list.
//
// Contents are read once, for the checksum; runs of zeros are not, as what they do to a CRC-32 can be computed.
//
// Source: RFC 1951 (deflate) and RFC 1952 (gzip). The header has neither a time nor a name, and the bytes do not depend on any
// compressor's version.
package gzipped
