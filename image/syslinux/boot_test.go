package syslinux_test

import (
	"os"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat"
	"github.com/kiln-farm/kiln/image/fat/disktest"
	"github.com/kiln-farm/kiln/image/gpt"
	"github.com/kiln-farm/kiln/image/mbr"
	"github.com/kiln-farm/kiln/image/syslinux"
)

func TestBIOSStartsTheDisk(t *testing.T) {
	sys, boot, _ := scratch(t)
	l, err := syslinux.Parse(sys, boot)
	if err != nil {
		t.Fatal(err)
	}
	code, errCode := os.ReadFile("/usr/lib/syslinux/mbr/mbr.bin")
	gptCode, errGPT := os.ReadFile("/usr/lib/syslinux/mbr/gptmbr.bin")
	c32, errC32 := os.ReadFile("/usr/lib/syslinux/modules/bios/ldlinux.c32")
	if errCode != nil || errGPT != nil || errC32 != nil {
		t.Skip("mbr.bin, gptmbr.bin or ldlinux.c32 is missing, so nothing can be started: apt-get install syslinux-common")
	}
	for _, tt := range []struct {
		name string
		opts fat.Options
		dir  string
	}{
		{"FAT32 of 64 MiB", fat.Options{Type: fat.FAT32, Size: 64 << 20, Label: "BOOT"}, ""},
		{"FAT16 in a directory", fat.Options{Type: fat.FAT16, Size: 20 << 20}, "boot/syslinux"},
		{"FAT12", fat.Options{Type: fat.FAT12}, ""},
		{"FAT32 of 4 KiB clusters with files before the loader", fat.Options{Size: 1 << 30}, "z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := disktest.New(t)
			marker := "kiln-started-from-" + strings.ReplaceAll(tt.name, " ", "-")
			in := func(name string) string { return strings.TrimPrefix(tt.dir+"/"+name, "/") }
			files := []fat.File{
				{Path: in("ldlinux.c32"), Content: s.Blob(c32)},
				{Path: in("syslinux.cfg"), Content: extents.Bytes([]byte("SAY " + marker + "\nPROMPT 1\n"))},
			}
			if tt.dir != "" {
				files = append(files, fat.File{Path: "a/kernel", Content: s.Blob(disktest.Noise(1, 3<<20+1))})
			}
			opts := tt.opts
			opts.Hidden = mbr.Align / fat.Sector
			volume, err := syslinux.Build(files, opts, l, tt.dir)
			if err != nil {
				t.Fatal(err)
			}
			disk, err := mbr.Build([]mbr.Partition{{Type: mbr.FAT32, Active: true, Content: volume.List}}, mbr.Options{Signature: 1, BootCode: code})
			if err != nil {
				t.Fatal(err)
			}
			disktest.Start(t, s.File("disk.img", disk), marker)
			esp := gpt.Partition{Type: gpt.ESP, ID: gpt.UUID("esp"), Attributes: gpt.LegacyBoot, Content: volume.List}
			if disk, err = gpt.Build([]gpt.Partition{esp}, gpt.Options{ID: gpt.UUID("disk"), BootCode: gptCode}); err != nil {
				t.Fatal(err)
			}
			disktest.Start(t, s.File("gpt.img", disk), marker)
		})
	}
}
