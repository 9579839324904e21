package gpt_test

import (
	"os"
	"testing"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat"
	"github.com/kiln-farm/kiln/image/fat/disktest"
	"github.com/kiln-farm/kiln/image/gpt"
)

// The firmware's shell, which is all that such a machine starts, runs startup.nsh of the first volume that has one.
func TestUEFIReadsTheDisk(t *testing.T) {
	const firmware = "/usr/share/ovmf/OVMF.fd"
	if _, err := os.Stat(firmware); err != nil {
		t.Skip("the firmware OVMF is missing, so no machine reads the disk: apt-get install ovmf")
	}
	for _, tt := range []struct {
		name string
		opts fat.Options
	}{
		{"FAT12", fat.Options{Type: fat.FAT12}},
		{"FAT16", fat.Options{Type: fat.FAT16}},
		{"FAT32", fat.Options{Type: fat.FAT32, Size: 300 << 20, Label: "ESP"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // the shell waits for some seconds
			s := disktest.New(t)
			volume, err := fat.Build([]fat.File{
				{Path: "startup.nsh", Content: extents.Bytes([]byte("@echo -off\r\nfs0:\r\ntype \"a directory\\A name that is long.txt\"\r\n"))},
				{Path: "a directory/A name that is long.txt", Content: s.Blob([]byte("kiln-is-read-by-firmware\r\n"))},
				{Path: "a directory/A name that is large.bin", Content: s.Blob(disktest.Noise(1, 200_000))},
			}, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			disk, err := gpt.Build([]gpt.Partition{{Type: gpt.ESP, ID: id("esp"), Name: "ESP", Content: volume.List}}, gpt.Options{ID: id("disk")})
			if err != nil {
				t.Fatal(err)
			}
			disktest.Start(t, s.File("disk.img", disk), "kiln-is-read-by-firmware", "-bios", firmware)
		})
	}
}
