// Package iso9660 lays out ISO images: a directory tree and what a machine starts from it.
//
// CDs, virtual CDs of servers' management processors and USB sticks take the same file. Build writes what describes the
// files (volume descriptors, path tables, directories, boot catalog) and places their contents, which stay where
// they are: memory depends on how many files there are and not on how large.
//
//   - ISO 9660 level 3 (ECMA-119, second edition): names of up to 30 characters, of which other tools make what they
//     like; files of 4 GiB and more are in many sections. Directories may be nested deeper than 8, as xorriso makes
//     them and Linux reads them.
//   - Rock Ridge (IEEE P1282 1.12 over SUSP 1.12): POSIX names, owners, modes, links, devices, times to the second. Not in it:
//     extended attributes and capabilities, which are left out.
//   - Joliet (level 3, the "Joliet Specification" of 1995): names in UCS-2 of up to 103 characters, as other tools take them,
//     for directories and regular files.
//   - El Torito 1.0: a BIOS starts an image without emulation (ISOLINUX), UEFI one with a FAT file system.
//   - A partition table in the first sector, so that the same image starts from a disk (see partition.go).
//
// Hard links share contents and serial numbers. The same input gives the same bytes: the disk's signature and the
// volume's time, which blkid(8) makes a UUID of, are options, and the clock is never looked at.
package iso9660
