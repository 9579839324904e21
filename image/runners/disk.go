package runners

import (
	"context"
	"encoding/binary"
	"encoding/hex"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat"
	"github.com/kiln-farm/kiln/image/gpt"
	"github.com/kiln-farm/kiln/image/mbr"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
	"github.com/kiln-farm/kiln/image/syslinux"
)

const (
	mib = 1 << 20
	// firstPartition is where the first partition begins, in bytes: what every partitioning program does today.
	firstPartition = mib
	bootLabel      = "KILN"
	stateName      = "state"
)

// partitions lays out a disk. Its contents stay where they are.
func partitions(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.DiskParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	if params.State%mib != 0 {
		return nil, step.Failf("a state partition of %d bytes is no multiple of 1 MiB; round it up", params.State)
	}
	var list *extents.List
	var err error
	switch params.Layout {
	case step.DiskBIOS:
		list, err = biosDisk(ctx, req, params)
	case step.DiskEFI, step.DiskVerity:
		list, err = efiDisk(ctx, req, params)
	default:
		return nil, step.Failf("unknown disk layout %q; coordinators and builders are of different releases", params.Layout)
	}
	if err != nil {
		return nil, err
	}
	return stepio.OutputList(ctx, req, "disk", list)
}

// efiBoot is where UEFI looks for what to boot on a medium (UEFI specification, 3.5.1.1).
var efiBoot = map[string]string{"amd64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}

// systemPartition is a FAT volume with the program that UEFI boots.
func systemPartition(req *step.Request, arch string, uki *extents.List, hidden int64) (*extents.List, error) {
	id := stepio.Identity("esp", req)
	image, err := fat.Build([]fat.File{{Path: efiBoot[arch], Content: uki}}, fat.Options{
		Label: bootLabel, VolumeID: binary.BigEndian.Uint32(id[:]), Hidden: uint32(hidden / fat.Sector),
	})
	if err != nil {
		return nil, err
	}
	return image.List, nil
}

func efiDisk(ctx context.Context, req *step.Request, params step.DiskParams) (*extents.List, error) {
	in, err := stepio.Contents(ctx, req, "uki")
	if err != nil {
		return nil, err
	}
	esp, err := systemPartition(req, params.Arch, in["uki"], firstPartition)
	if err != nil {
		return nil, err
	}
	parts := []gpt.Partition{{Type: gpt.ESP, ID: gpt.UUID("esp", id(req)), Name: "EFI System", Content: esp}}
	if params.Layout == step.DiskVerity {
		more, err := verityPartitions(ctx, req, params.Arch)
		if err != nil {
			return nil, err
		}
		parts = append(parts, more...)
	}
	if params.State > 0 {
		parts = append(parts, gpt.Partition{Type: gpt.Linux, ID: gpt.UUID(stateName, id(req)), Name: stateName, Size: params.State})
	}
	return gpt.Build(parts, gpt.Options{ID: gpt.UUID("disk", id(req)), Size: params.Size})
}

func id(req *step.Request) []byte {
	id := stepio.Identity("", req)
	return id[:]
}

// verityPartitions are named after the root hash: its first half is the id of the root partition, its second that of the
// dm-verity tree (Discoverable Partitions Specification).
func verityPartitions(ctx context.Context, req *step.Request, arch string) ([]gpt.Partition, error) {
	in, err := stepio.Contents(ctx, req, "root", "hash")
	if err != nil {
		return nil, err
	}
	hash, err := stepio.Text(ctx, req, "roothash")
	if err != nil {
		return nil, err
	}
	var sum [32]byte
	if n, err := hex.Decode(sum[:], []byte(hash)); err != nil || n != len(sum) {
		return nil, step.Failf("%q is no root hash; coordinators and builders are of different releases", hash)
	}
	types := map[string][2][16]byte{"amd64": {gpt.RootX86, gpt.RootX86Verity}, "arm64": {gpt.RootARM64, gpt.RootARM64Verity}}[arch]
	return []gpt.Partition{
		{Type: types[0], ID: [16]byte(sum[:16]), Name: "root", Attributes: gpt.ReadOnly, Content: in["root"]},
		{Type: types[1], ID: [16]byte(sum[16:]), Name: "root-verity", Attributes: gpt.ReadOnly, Content: in["hash"]},
	}, nil
}

// biosDisk boots by SYSLINUX from a FAT partition.
func biosDisk(ctx context.Context, req *step.Request, params step.DiskParams) (*extents.List, error) {
	in, err := stepio.Contents(ctx, req, "kernel", "initrd", "ldlinux.sys", "ldlinux.bss", "ldlinux.c32", "mbr")
	if err != nil {
		return nil, err
	}
	sys, err := stepio.BytesOf(ctx, req, in["ldlinux.sys"])
	if err != nil {
		return nil, err
	}
	sector, err := stepio.BytesOf(ctx, req, in["ldlinux.bss"])
	if err != nil {
		return nil, err
	}
	code, err := stepio.BytesOf(ctx, req, in["mbr"])
	if err != nil {
		return nil, err
	}
	loader, err := syslinux.Parse(sys, sector)
	if err != nil {
		return nil, err
	}
	disk := stepio.Identity("disk", req)
	volume, err := syslinux.Build([]fat.File{
		{Path: "ldlinux.c32", Content: in["ldlinux.c32"]},
		{Path: "syslinux.cfg", Content: extents.Bytes([]byte(bootConfig("/kernel", "/initrd.img", params.Cmdline)))},
		{Path: "kernel", Content: in["kernel"]},
		{Path: "initrd.img", Content: in["initrd"]},
	}, fat.Options{Label: bootLabel, VolumeID: binary.BigEndian.Uint32(disk[:]), Hidden: firstPartition / fat.Sector}, loader, "")
	if err != nil {
		return nil, err
	}
	kind := mbr.FAT32
	if volume.Type != fat.FAT32 {
		kind = mbr.FAT16
	}
	parts := []mbr.Partition{{Type: kind, Active: true, Content: volume.List}}
	if params.State > 0 {
		parts = append(parts, mbr.Partition{Type: mbr.Linux, Size: params.State})
	}
	size := params.Size
	if params.Round > 0 {
		if size == 0 {
			// Built once to learn how small it can be.
			small, err := mbr.Build(parts, mbr.Options{})
			if err != nil {
				return nil, err
			}
			size = small.Size()
		}
		size = (size + params.Round - 1) / params.Round * params.Round
	}
	return mbr.Build(parts, mbr.Options{Signature: binary.BigEndian.Uint32(disk[4:]), BootCode: code, Size: size})
}

// bootConfig is a configuration of SYSLINUX and ISOLINUX that boots at once.
func bootConfig(kernel, initrd, cmdline string) string {
	text := "DEFAULT linux\nLABEL linux\n    KERNEL " + kernel + "\n"
	if initrd != "" {
		text += "    INITRD " + initrd + "\n"
	}
	return text + "    APPEND " + cmdline + "\n"
}
