// Command root is the initrd of images whose root filesystem is on a disk or a CD, where the kernel cannot mount that by
// itself: it loads the modules for it, opens a verified root by the hash in the kernel's command line, puts memory on top
// that takes what is written, and starts the image's init.
//
// Of the command line it reads root=, rootfstype= and roothash=. With roothash= the partitions are those whose ids are the
// hash's two halves (Discoverable Partitions Specification), and every block that is read is checked against it by the
// kernel (dm-verity). Without, root= is a device; when there is none of that name, it is the one with an ISO 9660 volume
// called LinuxKit, since drivers differ in what they call a CD.
package main
