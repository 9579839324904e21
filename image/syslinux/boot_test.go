package syslinux_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat"
	"github.com/kiln-farm/kiln/image/fat/disktest"
	"github.com/kiln-farm/kiln/image/gpt"
	"github.com/kiln-farm/kiln/image/mbr"
	"github.com/kiln-farm/kiln/image/syslinux"
)

func TestBIOSStartsTheDisk(t *testing.T) {
	disktest.Need(t, "qemu-system-x86_64")
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
			marker := "kiln started from " + tt.name
			in := func(name string) string { return strings.TrimPrefix(tt.dir+"/"+name, "/") }
			files := []fat.File{
				{Path: in("ldlinux.c32"), Content: s.Blob(c32)},
				{Path: in("syslinux.cfg"), Content: extents.Bytes([]byte("SERIAL 0\nSAY " + marker + "\nPROMPT 1\n"))},
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
			start(t, s.File("disk.img", disk), marker)
			esp := gpt.Partition{Type: gpt.ESP, ID: gpt.UUID("esp"), Attributes: gpt.LegacyBoot, Content: volume.List}
			if disk, err = gpt.Build([]gpt.Partition{esp}, gpt.Options{ID: gpt.UUID("disk"), BootCode: gptCode}); err != nil {
				t.Fatal(err)
			}
			start(t, s.File("gpt.img", disk), marker)
		})
	}
}

// start runs a machine without graphics until it says the marker.
func start(t *testing.T, disk, marker string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	out := &watch{marker: marker, found: cancel}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-machine", "q35,graphics=off", "-m", "128", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-serial", "stdio", "-drive", "file="+disk+",format=raw,if=none,id=disk", "-device", "ide-hd,drive=disk,bus=ide.0")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if !out.seen() {
		t.Errorf("the machine never said %q (%v):\n%s", marker, err, out.said())
	}
}

// watch gathers what a machine says and ends it at the marker.
type watch struct {
	marker string
	found  func()

	mu   sync.Mutex
	text bytes.Buffer
}

func (w *watch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if bytes.Contains(w.text.Bytes(), []byte(w.marker)) {
		w.found()
	}
	return len(p), nil
}

func (w *watch) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *watch) seen() bool { return strings.Contains(w.said(), w.marker) }
