// Package syslinux installs SYSLINUX 6 into a FAT volume that is laid out rather than written, so that a BIOS starts it.
//
// What `syslinux --install` does to a mounted volume is done to a layout: ldlinux.sys goes in as a file in one run, learns in
// which sectors it lies, and the volume's boot sector gets the loader's code and the first of these sectors. The volume
// still begins a partition: its boot code, SYSLINUX's mbr.bin, and the active flag are for package mbr. The file
// ldlinux.c32, syslinux.cfg and kernels are ordinary files, which the caller adds. Versions of all three have to be the same.
//
// Debian ships ldlinux.sys and the boot sector inside of the program syslinux only. Who packages the boot loader gets
// them from a scratch volume, for which no device is needed:
//
//	truncate -s 34M scratch.img
//	mkfs.vfat -F 32 scratch.img
//	syslinux --install scratch.img
//	mcopy -n -i scratch.img ::ldlinux.sys ldlinux.sys
//	dd if=scratch.img of=ldlinux.bss bs=512 count=1
//	cp /usr/lib/syslinux/modules/bios/ldlinux.c32 /usr/lib/syslinux/mbr/mbr.bin .
//
// Such files know the sectors of the scratch volume; Patch forgets these. Files as SYSLINUX's own build makes them work, too.
//
// The layout of what is patched is that of SYSLINUX's libinstaller (struct patch_area, ext_patch_area and
// syslinux_extent in syslxint.h). Files of a boot loader are input that may be hostile: every offset in them is checked.
package syslinux
