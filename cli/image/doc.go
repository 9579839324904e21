// Package image is the verbs of images on this machine: what is in the cache, bringing images into it, making some of them, and
// booting one in QEMU.
//
// It builds nothing and needs no farm.
package image
