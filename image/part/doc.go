// Package part says what of a tree goes into the root filesystem, under which names, and writes it as a run of tar
// or as a cpio archive.
//
// Walk turns a step.Root and its trees into the stream of entries that LinuxKit would write; Segment and Archive
// render such a stream. What LinuxKit leaves out, replaces and adds is in image.go and kernel.go and nowhere else.
//
// Nothing here compresses, and nothing holds a file's contents in memory.
package part
