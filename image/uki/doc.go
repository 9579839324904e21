// Package uki puts a kernel, its command line and its initrd into one EFI program, a unified kernel image, and signs
// it for Secure Boot. Firmware starts such a file by itself, from a disk or over HTTP, with no boot loader between.
//
// Build lays the file out around a stub (systemd-stub's linuxx64.efi.stub, linuxaa64.efi.stub), which finds its parts
// as PE sections. The parts are not read, only placed: the result is a list of extents. Check looks at a kernel first.
// AuthenticodeDigest is what a signature is made over, Sign makes one with a key, SignedDigest tells which image
// one is for, and Attach puts it into the file. A signature made elsewhere over the same digest does as well.
//
// Sources: Microsoft PE/COFF specification; "Windows Authenticode Portable Executable Signature Format" (2008), here
// the Authenticode PE specification; the UAPI group's Unified Kernel Image specification; systemd-stub(7).
//
// The CheckSum field of the optional header is always 0: firmware does not look at it, and the digest leaves it out.
// Nothing here has a clock or a random number: signatures hold no signing time and are RSA PKCS #1 v1.5.
package uki
