// Package fat lays out FAT file systems: EFI system partitions, the boot images of ISOs, and the boot partition that
// SYSLINUX starts from.
//
// Firmware reads nothing else, and the files in it (kernels, initrds, unified kernel images) are the largest part of
// an image. Build therefore writes only the boot sectors, the two tables and the directories; contents stay ranges of
// blobs. Every file lies in one run of clusters, directories before files, files in the order of their paths, so that
// Image.Offset can say where a file's bytes are: SYSLINUX loads itself by that.
//
// Source: Microsoft Extensible Firmware Initiative FAT32 File System Specification, version 1.03 ("the
// specification" below), and section 13.3 of the UEFI specification, which takes it over. Sectors have 512 bytes, and the
// data area begins at a multiple of 4 KiB and of the cluster size, so that contents stay aligned in a disk.
//
// It never reads contents, a clock or a random number: volume id and label are options, and all times are
// 2017-04-18 16:30:00.
package fat
