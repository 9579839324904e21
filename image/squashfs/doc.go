// Package squashfs writes squashfs 4.0 images, as Linux mounts them, in two halves, so that what did not change is never
// compressed again.
//
// Compress compresses the files of one part of a root filesystem into a blob of blocks, and writes down in a table where
// which file is. It knows nothing of the rest of the image, so its result is kept as long as the part stays the same.
// Assemble then makes an image of a tree: it points at the blocks of the parts where they are, and writes only what an
// image has once: inodes, directories and the tables. A file whose contents are in another part, too, is in the image
// once.
//
// The format is described in Linux Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h; names here are
// those. Blocks have 128 KiB, a file below that is packed with others into a fragment block, and blocks of zeros take no
// room. Compression is gzip (zlib, RFC 1950) or zstd (RFC 8878).
//
// The same tree gives the same bytes on any machine at any parallelism. Memory does not depend on the sizes of files; in
// Assemble it grows with their number, as the tree itself does. Nothing here reads an image.
package squashfs
