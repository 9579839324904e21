package runners

import (
	"context"
	"encoding/binary"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/iso9660"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
)

const (
	volumeID = "LinuxKit" // as LinuxKit calls its ISOs
	// Where LinuxKit's kernel is in the root filesystem, and its initrd beside it.
	isoKernel, isoInitrd = "/boot/kernel", "/boot/initrd.img"
	isolinuxDir          = "isolinux/"
	efiImage             = "boot/efi.img"
)

// iso is the root, which may be nil, with what it boots by: ISOLINUX, or a UKI in a small FAT volume.
func iso(ctx context.Context, req *step.Request, params *step.FileSystemParams, root *fstree.Node) (*extents.List, error) {
	id := stepio.Identity("iso", req)
	opts := iso9660.Options{VolumeID: volumeID, DiskID: binary.BigEndian.Uint32(id[:])}
	if err := isolinux(ctx, req, params, &opts); err != nil {
		return nil, err
	}
	uki, err := stepio.Content(ctx, req, "uki")
	if err != nil {
		return nil, err
	}
	if uki != nil {
		volume, err := fat.Build([]fat.File{{Path: efiBoot[params.Arch], Content: uki}}, fat.Options{Label: bootLabel, VolumeID: opts.DiskID})
		if err != nil {
			return nil, err
		}
		opts.EFI = &iso9660.EFI{Name: efiImage, Image: volume.List}
	}
	return iso9660.Build(root, opts)
}

// isolinux adds what a BIOS starts, when the step is given it.
func isolinux(ctx context.Context, req *step.Request, params *step.FileSystemParams, opts *iso9660.Options) error {
	if req.Input("isolinux.bin").IsZero() {
		return nil
	}
	in, err := stepio.Contents(ctx, req, "isolinux.bin", "ldlinux.c32", "mbr")
	if err != nil {
		return err
	}
	image, err := stepio.BytesOf(ctx, req, in["isolinux.bin"])
	if err != nil {
		return err
	}
	code, err := stepio.BytesOf(ctx, req, in["mbr"])
	if err != nil {
		return err
	}
	initrd, err := stepio.Content(ctx, req, "initrd")
	if err != nil {
		return err
	}
	name := ""
	if initrd != nil {
		name = isoInitrd
		opts.Files = append(opts.Files, iso9660.File{Name: isoInitrd[1:], Content: initrd})
	}
	opts.Files = append(opts.Files,
		iso9660.File{Name: isolinuxDir + "ldlinux.c32", Content: in["ldlinux.c32"]},
		iso9660.File{Name: isolinuxDir + "isolinux.cfg", Content: extents.Bytes([]byte(bootConfig(isoKernel, name, params.Cmdline)))})
	opts.BIOS = &iso9660.BIOS{Name: isolinuxDir + "isolinux.bin", Image: image, DiskCode: code}
	return nil
}
