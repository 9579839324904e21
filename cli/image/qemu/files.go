package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat"
	"github.com/kiln-farm/kiln/image/gpt"
	"github.com/kiln-farm/kiln/image/iso9660"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// bootPaths are where UEFI looks for what to boot (UEFI specification, 3.5.1.1).
var bootPaths = map[string]string{"amd64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}

// WriteUKIDisk writes a disk from which UEFI boots the unified kernel image. Dir takes what it needs meanwhile.
func WriteUKIDisk(ctx context.Context, path string, image *Image, dir string) error {
	store, err := disk.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		return err
	}
	f, err := userfile.Open(image.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	draft, err := store.Create(ctx)
	if err != nil {
		return err
	}
	defer draft.Abort()
	if _, err := draft.ReadFrom(f); err != nil {
		return err
	}
	d, size, err := draft.Commit()
	if err != nil {
		return err
	}
	volume, err := fat.Build([]fat.File{{Path: bootPaths[image.Arch], Content: extents.Blob(d, size)}}, fat.Options{Hidden: gpt.Align / fat.Sector})
	if err != nil {
		return err
	}
	disk, err := gpt.Build([]gpt.Partition{{Type: gpt.ESP, ID: gpt.UUID("esp"), Name: "EFI System", Content: volume.List}}, gpt.Options{ID: gpt.UUID("disk")})
	if err != nil {
		return err
	}
	return write(ctx, store, path, disk)
}

// WriteData writes a volume with a machine's metadata: where LinuxKit's metadata package looks for it, and as cloud-init's
// NoCloud has it.
func WriteData(ctx context.Context, path string, data []byte, dir string) error {
	store, err := disk.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		return err
	}
	volume, err := iso9660.Build(nil, iso9660.Options{VolumeID: "cidata", Files: []iso9660.File{
		{Name: "config", Content: extents.Bytes(data)}, {Name: "user-data", Content: extents.Bytes(data)},
		{Name: "meta-data", Content: extents.Bytes([]byte("instance-id: kiln-run\nlocal-hostname: kiln\n"))},
	}})
	if err != nil {
		return err
	}
	return write(ctx, store, path, volume)
}

func write(ctx context.Context, store *disk.Store, path string, l *extents.List) error {
	r, err := artifact.Open(ctx, store, l.Artifact())
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = r.WriteTo(f)
	return errors.Join(err, f.Close())
}
