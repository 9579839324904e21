// Package fstree makes one directory tree of the parts of a root filesystem.
//
// The formats that are no archives (squashfs, erofs, ISO 9660) write directories, so they must know what is left when
// all parts are unpacked one over the other. Build says it, as unpacking LinuxKit's tar would:
//
//   - an entry takes the place of what had its name before;
//   - a directory over a directory keeps what is in it and takes the new owner, mode, time and xattrs;
//   - a hard link is one more name of a node; its target may come later, as it does when an image's upper layer
//     links to a lower one's file;
//   - directories that nobody wrote are made: mode 0755, owner 0:0, part.DefaultTime;
//   - an entry below a symbolic link goes to where the link leads, which never is outside of the tree.
//
// What an unpacker could not do is a step.Failure: a file in place of a directory that is not empty, a name below a
// file, a hard link to nothing. Bodies stay where they are; a node is about 300 bytes with its name, whatever the size
// of its file. Build writes nothing and reads no body;
// Bodies reads them for who writes a filesystem.
package fstree
