package iso9660

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
)

// syslinux reads a file of SYSLINUX, or skips the test.
func syslinux(t testing.TB, path, debian string) []byte {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("/usr/lib", path))
	if err != nil {
		t.Skipf("not tried: /usr/lib/%s is not installed (Debian package %s)", path, debian)
	}
	return p
}

// marker is what ISOLINUX says when it has read its configuration.
const marker = "KILN-ISOLINUX-IS-HERE"

// isolinux are options with ISOLINUX, which says the marker.
func isolinux(t testing.TB) Options {
	bios := &BIOS{
		Name: "isolinux/isolinux.bin", Image: syslinux(t, "ISOLINUX/isolinux.bin", "isolinux"),
		DiskCode: syslinux(t, "ISOLINUX/isohdpfx.bin", "isolinux"),
	}
	config := "SERIAL 0\nSAY " + marker + "\nDEFAULT none\nPROMPT 1\n"
	return Options{BIOS: bios, DiskID: 0x4b494c4e, Files: []File{
		{"isolinux/ldlinux.c32", extents.Bytes(syslinux(t, "syslinux/modules/bios/ldlinux.c32", "syslinux-common"))},
		{"isolinux/isolinux.cfg", extents.Bytes([]byte(config))},
	}}
}

// efiImage is a FAT file system of that size in bytes, or as small as can be.
func efiImage(t testing.TB, size int64) *extents.List {
	t.Helper()
	i, err := fat.Build([]fat.File{{Path: "EFI/BOOT/BOOTX64.EFI", Content: extents.Bytes([]byte("MZ"))}}, fat.Options{Size: size})
	if err != nil {
		t.Fatal(err)
	}
	return i.List
}

// starts boots an image and waits for the marker.
func starts(t *testing.T, args ...string) {
	t.Helper()
	tool(t, "qemu-system-x86_64", "qemu-system-x86")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	// SeaBIOS under a nested KVM may hang, so never that.
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{"-accel", "tcg", "-machine", "q35,graphics=off", "-m", "64",
		"-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"}, args...)...)
	said := &watcher{until: marker, found: cancel}
	cmd.Stdout, cmd.Stderr = said, said
	begun := time.Now()
	err := cmd.Run()
	if !strings.Contains(said.text.String(), marker) {
		t.Fatalf("no %s: %v\n%s", marker, err, said.text.String())
	}
	t.Logf("started after %s", time.Since(begun).Round(10*time.Millisecond))
}

// watcher keeps what is written and says when something is in it.
type watcher struct {
	text  bytes.Buffer
	until string
	found func()
}

func (w *watcher) Write(p []byte) (int, error) {
	w.text.Write(p)
	if strings.Contains(w.text.String(), w.until) {
		w.found()
	}
	return len(p), nil
}

func TestISOLINUXStarts(t *testing.T) {
	o := isolinux(t)
	s := fstreetest.New(t)
	alone := write(t, s, build(t, everything(s), o), "alone.iso")
	o.EFI = &EFI{"boot/efi.img", efiImage(t, 0)}
	both := write(t, s, build(t, everything(s), o), "both.iso")
	for name, args := range map[string][]string{
		"from a CD": {"-cdrom", alone}, "from a disk": {"-drive", "format=raw,file=" + alone},
		"from a CD for UEFI, too": {"-cdrom", both}, "from a disk for UEFI, too": {"-drive", "format=raw,file=" + both},
	} {
		t.Run(name, func(t *testing.T) { starts(t, args...) })
	}
}

func TestXorrisoFindsTheBootImages(t *testing.T) {
	tool(t, "xorriso", "xorriso")
	bios := isolinux(t)
	only := Options{EFI: &EFI{"boot/efi.img", efiImage(t, 0)}}
	both := bios
	both.EFI = only.EFI
	large := both
	large.EFI = &EFI{"boot/efi.img", efiImage(t, 40<<20)}
	cd := bios
	cd.BIOS = &BIOS{Name: bios.BIOS.Name, Image: bios.BIOS.Image}
	const (
		isolinuxLine = `El Torito boot img : +1 +BIOS +y +none +0x0000 +0x00 +4 +\d+`
		path         = `El Torito img path : +%d +/boot/efi.img`
	)
	tests := []struct {
		name string
		o    Options
		want []string
		not  string
	}{
		{"a BIOS", bios, []string{isolinuxLine, `El Torito img opts : +1 +boot-info-table isohybrid-suitable`, `System area summary: MBR isohybrid`,
			`MBR partition +: +1 +0x80 +0x17 +0 +\d+`}, "UEFI"},
		{"a BIOS from a CD", cd, []string{isolinuxLine}, "MBR"},
		{"UEFI", only, []string{`El Torito boot img : +1 +UEFI +y +none +0x0000 +0x00 +2048 +\d+`, `El Torito img path : +1 +/boot/efi.img`,
			`MBR partition +: +1 +0x00 +0x17 +0 +\d+`, `MBR partition +: +2 +0x00 +0xef`, `MBR partition path : +2 +/boot/efi.img`}, "BIOS"},
		{"both", both, []string{isolinuxLine, `El Torito boot img : +2 +UEFI +y +none +0x0000 +0x00 +2048 +\d+`, `MBR partition +: +2 +0x00 +0xef`}, "xxx"},
		{"both, UEFI with 40 MiB", large, []string{isolinuxLine, `El Torito boot img : +2 +UEFI +y +none +0x0000 +0x00 +1 +\d+`}, "xxx"},
		{"none", Options{}, []string{"Volume id"}, "El Torito boot img"},
	}
	s := fstreetest.New(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			iso := write(t, s, build(t, nil, test.o), "iso")
			got := run(t, "xorriso", "-indev", iso, "-pvd_info", "-report_el_torito", "plain", "-report_system_area", "plain")
			for _, want := range test.want {
				if !regexp.MustCompile(want).MatchString(got) {
					t.Errorf("no %s in\n%s", want, got)
				}
			}
			if strings.Contains(got, test.not) {
				t.Errorf("%s in\n%s", test.not, got)
			}
		})
	}
}

// The EFI image is the last: for one that is too large to say its size firmware takes all to the end.
func TestTheEFIImageIsTheLast(t *testing.T) {
	s := fstreetest.New(t)
	image := efiImage(t, 40<<20)
	l := build(t, everything(s), Options{EFI: &EFI{"aaa.img", image}, Files: []File{{"zzz", extents.Bytes([]byte("zzz"))}}})
	if l.Size()%(1<<20) != 0 {
		t.Errorf("%d bytes are no whole cylinders", l.Size())
	}
	var p bytes.Buffer
	s.Copy(&p, l.Artifact())
	start := int64(le.Uint32(p.Bytes()[partitionsAt+partitionLen+8:])) * diskSector
	if end := start + image.Size(); l.Size()-end >= 1<<20 || end > l.Size() {
		t.Errorf("the image is at %d to %d of %d", start, end, l.Size())
	}
	if got := p.Bytes()[start+510 : start+512]; string(got) != "\x55\xaa" {
		t.Errorf("it ends its first sector with %x", got)
	}
	first := int64(le.Uint32(p.Bytes()[partitionsAt+12:])) * diskSector
	if first != start {
		t.Errorf("the ISO's partition has %d bytes, the next begins at %d", first, start)
	}
}
