//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of the device mapper (linux/dm-ioctl.h).
const (
	dmDevCreate  = 0xc138fd03
	dmTableLoad  = 0xc138fd09
	dmDevSuspend = 0xc138fd06 // without the flag: resume
	dmReadOnly   = 1
	dmHead       = 312 // struct dm_ioctl
	dmSpec       = 40  // struct dm_target_spec
	dmSize       = 4096
	dmName       = "root"
)

// openVerified opens the root filesystem whose dm-verity tree has that root hash.
func openVerified(hash string) (string, error) {
	rootID, verityID, err := halves(hash)
	if err != nil {
		return "", err
	}
	data, err := findPartition(rootID)
	if err != nil {
		return "", err
	}
	tree, err := findPartition(verityID)
	if err != nil {
		return "", err
	}
	f, err := os.Open(tree)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 512)
	if _, err := f.ReadAt(head, 0); err != nil {
		return "", err
	}
	sb, err := parseSuperblock(head)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", errRefused, tree, err)
	}
	table := fmt.Sprintf("%d %s %s %d %d %d 1 %s %s %s", sb.version, data, tree, sb.dataBlock, sb.hashBlock, sb.blocks, sb.algorithm, hash, sb.salt)
	if err := mapDevice(sb.blocks*uint64(sb.dataBlock)/sector, table); err != nil {
		return "", fmt.Errorf("%w: %w", errRefused, err)
	}
	return "/dev/dm-0", nil
}

// superblock is what is before a dm-verity tree (cryptsetup's documentation, "DMVerity").
type superblock struct {
	version              uint32 // hash type
	dataBlock, hashBlock uint32 // bytes
	blocks               uint64
	algorithm, salt      string
}

func parseSuperblock(b []byte) (superblock, error) {
	le := binary.LittleEndian
	if len(b) < 512 || string(b[:8]) != "verity\x00\x00" || le.Uint32(b[8:]) != 1 {
		return superblock{}, fmt.Errorf("there is no dm-verity tree")
	}
	sb := superblock{version: le.Uint32(b[12:]), algorithm: string(bytes.TrimRight(b[32:64], "\x00")), dataBlock: le.Uint32(b[64:]), hashBlock: le.Uint32(b[68:]), blocks: le.Uint64(b[72:]), salt: "-"}
	n := int(le.Uint16(b[80:]))
	if n > 256 || sb.algorithm != "sha256" || sb.dataBlock != 4096 || sb.hashBlock != 4096 {
		return superblock{}, fmt.Errorf("the dm-verity tree is of a kind that is not made here")
	}
	if n > 0 {
		sb.salt = hex.EncodeToString(b[88 : 88+n])
	}
	return sb, nil
}

// mapDevice makes the one device of the device mapper.
func mapDevice(sectors uint64, table string) error {
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	call := func(number uintptr, flags uint32, fill func([]byte) uint32) error {
		b := make([]byte, dmSize)
		le := binary.LittleEndian
		le.PutUint32(b[0:], 4) // version 4.0.0
		le.PutUint32(b[12:], dmSize)
		le.PutUint32(b[16:], dmHead)
		le.PutUint32(b[28:], flags)
		copy(b[48:], dmName)
		if fill != nil {
			le.PutUint32(b[20:], fill(b[dmHead:]))
		}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), number, uintptr(unsafe.Pointer(&b[0])))
		runtime.KeepAlive(b)
		if errno != 0 {
			return errno
		}
		return nil
	}
	if err := call(dmDevCreate, 0, nil); err != nil && err != unix.EBUSY {
		return fmt.Errorf("make a mapped device: %w", err)
	}
	err = call(dmTableLoad, dmReadOnly, func(b []byte) uint32 {
		binary.LittleEndian.PutUint64(b[8:], sectors)
		copy(b[24:40], "verity")
		copy(b[dmSpec:], table)
		return 1
	})
	if err != nil {
		return fmt.Errorf("open the verified root (%s): %w", table, err)
	}
	if err := call(dmDevSuspend, dmReadOnly, nil); err != nil {
		return fmt.Errorf("start the verified root: %w", err)
	}
	return nil
}
