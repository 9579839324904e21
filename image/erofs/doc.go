// Package erofs writes EROFS images without compression, so that the files in them are not copied: an image is a list of
// extents over the blobs where the contents are already, with new metadata before them.
//
// Such an image takes as long to make as its directories are large, whatever its files are. Contents are read only where
// a file's end does not fill a block: that end is kept with the file's inode (FLAT_INLINE), which takes less room than a
// block of its own.
//
// The layout, in blocks of 4096 bytes: the superblock, inodes with what is kept with them, directories that are larger
// than that, and the files' blocks. Files that are one body under two inodes share their blocks. The format is described
// in Linux Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h; names here are those. Every kernel since 5.4 reads
// these images.
//
// The same tree gives the same bytes, UUID included. Memory grows with the number of files, not with their sizes. Nothing
// here reads an image.
package erofs
