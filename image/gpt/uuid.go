package gpt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Types of partitions.
var (
	// ESP is the EFI system partition (UEFI table 5.7).
	ESP = must("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
	// Linux is a partition with a Linux file system, for any use.
	Linux = must("0fc63daf-8483-4772-8e79-3d69d8477de4")
	// BIOSBoot is where GRUB puts itself on disks that a BIOS starts from.
	BIOSBoot = must("21686148-6449-6e6f-744e-656564454649")

	// RootX86 is the root file system for x86-64, RootX86Verity its hashes for dm-verity and RootX86VeritySig the signature of those.
	RootX86          = must("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
	RootX86Verity    = must("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5")
	RootX86VeritySig = must("41092b05-9fc8-4523-994f-2def0408b176")
	// RootARM64 is the root file system for arm64, and so on.
	RootARM64          = must("b921b045-1df0-41c3-af44-4c6f280d3fae")
	RootARM64Verity    = must("df3300ce-d69f-4c92-978c-9bfb0f38d820")
	RootARM64VeritySig = must("6db69de6-29f4-4758-a7a5-962190f00ce3")

	// Var is /var, and Home is /home.
	Var  = must("4d21b016-b534-45c2-a9fb-5c16e091fd2d")
	Home = must("933ac7e1-2eb4-4f13-b844-0e14e2aef915")
	// Swap is swap space.
	Swap = must("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f")
)

// Attributes of partitions: bits (UEFI table 5.8, and the Discoverable Partitions Specification for 48 and above).
const (
	Required   uint64 = 1 << 0  // the platform needs it
	LegacyBoot uint64 = 1 << 2  // gptmbr.bin starts it
	GrowFS     uint64 = 1 << 59 // grow the file system to the partition when it is mounted
	ReadOnly   uint64 = 1 << 60
	NoAuto     uint64 = 1 << 63 // do not mount it without being told
)

// UUID makes an id of what it is for and what it depends on: a version 8 UUID (RFC 9562, 5.8) of the first bits of their
// SHA-256. Every part counts with its length, so that no two lists of parts are the same.
func UUID(label string, parts ...[]byte) (id [16]byte) {
	h := sha256.New()
	for _, part := range append([][]byte{[]byte(label)}, parts...) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Text is an id as one writes it.
func Text(id [16]byte) string {
	s := hex.EncodeToString(id[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// must reads the constants above, which a test has sfdisk name.
func must(text string) (id [16]byte) {
	n := 0
	for i := 0; i+1 < len(text) && n < len(id); i += 2 {
		if text[i] == '-' {
			i++
		}
		if _, err := hex.Decode(id[n:n+1], []byte(text[i:i+2])); err != nil {
			return [16]byte{}
		}
		n++
	}
	return id
}

// mixed is an id as the table has it: the first three numbers little-endian (UEFI appendix A).
func mixed(id [16]byte) [16]byte {
	return [16]byte{id[3], id[2], id[1], id[0], id[5], id[4], id[7], id[6], id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15]}
}
