package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

const (
	sector     = 512
	volumeID   = "LinuxKit"
	maxEntries = 1024
)

// findRoot is the device that root= names, or else the one with LinuxKit's CD in it.
func findRoot(name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("%w: the kernel's command line has neither root= nor roothash=", errRefused)
	}
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	disks, err := filepath.Glob("/sys/block/*")
	if err != nil {
		return "", err
	}
	for _, disk := range disks {
		device := "/dev/" + filepath.Base(disk)
		if isVolume(device) {
			return device, nil
		}
	}
	return "", fmt.Errorf("there is no %s, and no disk with the volume %s", name, volumeID)
}

// isVolume says that a device has LinuxKit's ISO 9660 volume (ECMA-119 §8.4: the primary descriptor is at sector 16).
func isVolume(device string) bool {
	f, err := os.Open(device)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [72]byte
	if _, err := f.ReadAt(b[:], 16*2048); err != nil {
		return false
	}
	return string(b[1:6]) == "CD001" && string(bytes.TrimRight(b[40:72], " \x00")) == volumeID
}

// findPartition is the device of the GPT partition with that id, in its text's byte order (UEFI specification, 5.3).
func findPartition(id []byte) (string, error) {
	disks, err := filepath.Glob("/sys/block/*")
	if err != nil {
		return "", err
	}
	for _, disk := range disks {
		name := filepath.Base(disk)
		number, err := numberOf("/dev/"+name, id)
		if err != nil {
			continue
		}
		if last := name[len(name)-1]; last >= '0' && last <= '9' {
			name += "p"
		}
		device := "/dev/" + name + strconv.Itoa(number)
		if _, err := os.Stat(device); err != nil {
			return "", err
		}
		return device, nil
	}
	return "", fmt.Errorf("no disk has a partition with the id %x", id)
}

func numberOf(device string, id []byte) (int, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return partition(f, id)
}

// partition is the number, from 1, of the partition with that id on a disk.
func partition(disk io.ReaderAt, id []byte) (int, error) {
	var head [92]byte
	if _, err := disk.ReadAt(head[:], sector); err != nil {
		return 0, err
	}
	if string(head[:8]) != "EFI PART" {
		return 0, errors.New("the disk has no GPT")
	}
	first, n, size := binary.LittleEndian.Uint64(head[72:]), binary.LittleEndian.Uint32(head[80:]), binary.LittleEndian.Uint32(head[84:])
	if n > maxEntries || size < 128 || size > 4096 || first > 1<<32 {
		return 0, errors.New("the disk's GPT is damaged")
	}
	want := mixed(id)
	entry := make([]byte, size)
	for i := range int(n) {
		if _, err := disk.ReadAt(entry, int64(first)*sector+int64(i)*int64(size)); err != nil {
			return 0, err
		}
		if bytes.Equal(entry[16:32], want) {
			return i + 1, nil
		}
	}
	return 0, errors.New("the disk has no such partition")
}

// mixed is an id as GPT keeps it: its first three numbers in little endian.
func mixed(id []byte) []byte {
	out := bytes.Clone(id)
	for _, r := range [][2]int{{0, 4}, {4, 6}, {6, 8}} {
		for a, b := r[0], r[1]-1; a < b; a, b = a+1, b-1 {
			out[a], out[b] = out[b], out[a]
		}
	}
	return out
}

// halves are the ids of the root partition and of its dm-verity tree.
func halves(hash string) (root, verity []byte, err error) {
	sum, err := hex.DecodeString(hash)
	if err != nil || len(sum) != 32 {
		return nil, nil, fmt.Errorf("%w: roothash=%s is no SHA-256", errRefused, hash)
	}
	return sum[:16], sum[16:], nil
}
