package syslinux_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat"
	"github.com/kiln-farm/kiln/image/fat/disktest"
	"github.com/kiln-farm/kiln/image/syslinux"
)

// Places in the files that loader makes.
const (
	patchAt = 24
	extAt   = 1024
	advAt   = 1100
	dirAt   = 1200
	mapAt   = 1300
)

// loader makes files of the shape of SYSLINUX's own, as its build makes them.
func loader() (sys, boot []byte) {
	le := binary.LittleEndian
	sys, boot = disktest.Noise(1, 70_000), disktest.Noise(2, 512)
	clear(sys[:512])
	le.PutUint32(sys[patchAt:], 0x3eb202fe)
	le.PutUint32(sys[patchAt+4:], 0xabcdef01)
	le.PutUint16(sys[patchAt+22:], extAt)
	for i, v := range []uint16{advAt, dirAt, 100, dirAt, 100, mapAt, 20, 200, 210, 220} {
		le.PutUint16(sys[extAt+2*i:], v)
	}
	boot[0] = 0xeb
	le.PutUint32(boot[300:], 0xabcdef01)
	le.PutUint32(boot[0x1f8:], 0x3eb202fe)
	le.PutUint16(boot[510:], 0xaa55)
	return sys, boot
}

func TestPatch(t *testing.T) {
	le := binary.LittleEndian
	plain, plainBoot := loader()
	l, err := syslinux.Parse(plain, plainBoot)
	if err != nil {
		t.Fatal(err)
	}
	first := uint64(0x1_2345_6789)
	sys, boot, err := l.Patch(first, "/boot/syslinux/")
	if err != nil {
		t.Fatal(err)
	}
	const sectors = 137 // 70,000 bytes
	if len(sys) != (sectors+2)*512 || int64(len(sys)) != l.Size() {
		t.Fatalf("%d bytes", len(sys))
	}
	for _, tt := range []struct {
		name      string
		got, want uint64
	}{
		{"the low half of the first sector", uint64(le.Uint32(boot[200:])), 0x23456789},
		{"the high half", uint64(le.Uint32(boot[210:])), 1},
		{"sectors", uint64(le.Uint16(sys[patchAt+8:])), sectors},
		{"sectors of the vector", uint64(le.Uint16(sys[patchAt+10:])), 2},
		{"words", uint64(le.Uint32(sys[patchAt+12:])), sectors * 128},
		{"the first run", le.Uint64(sys[mapAt:]), first + 1},
		{"its length", uint64(le.Uint16(sys[mapAt+8:])), 127},
		{"the second run", le.Uint64(sys[mapAt+10:]), first + 128},
		{"its length", uint64(le.Uint16(sys[mapAt+18:])), sectors - 128},
		{"the end of the runs", le.Uint64(sys[mapAt+20:]), 0},
		{"the vector", le.Uint64(sys[advAt:]), first + sectors},
		{"its copy", le.Uint64(sys[advAt+8:]), first + sectors + 1},
		{"the vector's head", uint64(le.Uint32(sys[sectors*512:])), 0x5a2d2fa5},
		{"the copy's tail", uint64(le.Uint32(sys[len(sys)-4:])), 0xdd28bf64},
		{"the sum of all words", uint64(words(sys[:sectors*512])), 0x3eb202fe},
		{"the sum of the vector's words", uint64(words(sys[sectors*512+4 : (sectors+1)*512-4])), 0xa3041767},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.name, tt.got, tt.want)
		}
	}
	if got := string(sys[dirAt : dirAt+16]); got != "/boot/syslinux\x00\x00" {
		t.Errorf("directory %q", got)
	}
	// Files that were installed elsewhere are the same loader.
	again, err := syslinux.Parse(sys, boot)
	if err != nil {
		t.Fatal(err)
	}
	sysA, bootA, errA := l.Patch(77, "")
	sysB, bootB, errB := again.Patch(77, "")
	if errA != nil || errB != nil || !bytes.Equal(sysA, sysB) || !bytes.Equal(bootA, bootB) {
		t.Errorf("patched again: %v, %v", errA, errB)
	}
	if _, _, err := l.Patch(77, strings.Repeat("d", 99)); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a long directory: %v", err)
	}
}

func words(b []byte) (sum uint32) {
	for ; len(b) >= 4; b = b[4:] {
		sum += binary.LittleEndian.Uint32(b)
	}
	return sum
}

func TestFilesThatAreNotSYSLINUX(t *testing.T) {
	le := binary.LittleEndian
	for _, tt := range []struct {
		name   string
		change func(sys, boot *[]byte)
		want   string
	}{
		{"an empty ldlinux.sys", func(sys, _ *[]byte) { *sys = nil }, "has 0 bytes"},
		{"a large ldlinux.sys", func(sys, _ *[]byte) { *sys = make([]byte, 1<<20) }, "has 1048576 bytes"},
		{"no mark", func(sys, _ *[]byte) { clear((*sys)[:512]) }, "the mark"},
		{"an end that is cut off", func(sys, _ *[]byte) { le.PutUint16((*sys)[patchAt+8:], 200); le.PutUint32((*sys)[patchAt+12:], 1<<30) }, "is broken"},
		{"no words", func(sys, _ *[]byte) { le.PutUint16((*sys)[patchAt+8:], 200); le.PutUint32((*sys)[patchAt+12:], 0) }, "is broken"},
		{"a patch area beyond the end", func(sys, _ *[]byte) { *sys = (*sys)[:2048]; le.PutUint16((*sys)[patchAt+22:], 2040) }, "patch area"},
		{"a vector beyond the end", func(sys, _ *[]byte) { *sys = (*sys)[:2048]; le.PutUint16((*sys)[extAt:], 2040) }, "data vector"},
		{"a vector in the patch area", func(sys, _ *[]byte) { le.PutUint16((*sys)[extAt:], patchAt) }, "data vector"},
		{"a directory beyond the end", func(sys, _ *[]byte) { *sys = (*sys)[:2048]; le.PutUint16((*sys)[extAt+4:], 0xffff) }, "directory"},
		{"a map beyond the end", func(sys, _ *[]byte) { *sys = (*sys)[:2048]; le.PutUint16((*sys)[extAt+12:], 0xffff) }, "map of sectors"},
		{"a first sector in the parameters", func(sys, _ *[]byte) { le.PutUint16((*sys)[extAt+14:], 11) }, "first sector"},
		{"a first sector beyond the code", func(sys, _ *[]byte) { le.PutUint16((*sys)[extAt+16:], 510) }, "first sector"},
		{"half a boot sector", func(_, boot *[]byte) { *boot = (*boot)[:256] }, "256 bytes"},
		{"another boot sector", func(_, boot *[]byte) { (*boot)[0x1f8]++ }, "not SYSLINUX's"},
		{"a boot sector of another build", func(_, boot *[]byte) { (*boot)[300]++ }, "same build"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sys, boot := loader()
			tt.change(&sys, &boot)
			if _, err := syslinux.Parse(sys, boot); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	sys, boot := loader()
	le.PutUint16(sys[extAt+12:], 1) // room for one run
	l, err := syslinux.Parse(sys, boot)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Patch(1, ""); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("got %v", err)
	}
}

func TestVolumeKeepsItsParameters(t *testing.T) {
	l, err := syslinux.Parse(loader())
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []fat.Type{fat.FAT12, fat.FAT16, fat.FAT32} {
		s := disktest.New(t)
		img, err := syslinux.Build([]fat.File{{Path: "syslinux.cfg", Content: extents.Bytes([]byte("PROMPT 1\n"))}}, fat.Options{Type: typ, Hidden: 2048, VolumeID: 5}, l, "boot")
		if err != nil {
			t.Fatal(err)
		}
		off, _ := img.Offset("boot/ldlinux.sys")
		sys, boot, err := l.Patch(uint64(off/512), "boot")
		if err != nil {
			t.Fatal(err)
		}
		got := s.Read(img.List, 0, 512)
		if !bytes.Equal(got[90:], boot[90:]) || binary.LittleEndian.Uint32(got[28:]) != 2048 {
			t.Errorf("FAT%s: other boot sector", typ)
		}
		if !bytes.Equal(s.Read(img.List, off, l.Size()), sys) {
			t.Errorf("FAT%s: other ldlinux.sys", typ)
		}
		disktest.Run(t, "fsck.vfat", "-n", s.File("volume.img", img.List))
	}
	if _, err := syslinux.Build(nil, fat.Options{}, l, "a:b"); err == nil {
		t.Error("a directory that FAT cannot have")
	}
}

// scratch installs SYSLINUX into a scratch volume, as the package's documentation says, and returns what is in it.
func scratch(t *testing.T) (sys, boot, volume []byte) {
	t.Helper()
	disktest.Need(t, "mkfs.vfat", "syslinux", "mcopy")
	dir := t.TempDir()
	img := filepath.Join(dir, "scratch.img")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, 34<<20); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, "mkfs.vfat", "-F", "32", img)
	disktest.Run(t, "syslinux", "--install", img)
	disktest.Run(t, "mcopy", "-n", "-i", img, "::ldlinux.sys", filepath.Join(dir, "ldlinux.sys"))
	return read(t, filepath.Join(dir, "ldlinux.sys")), read(t, img)[:512], read(t, img)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPatchIsWhatTheInstallerDoes(t *testing.T) {
	sys, boot, volume := scratch(t)
	l, err := syslinux.Parse(sys, boot)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(volume, sys)
	if at < 0 || at%512 != 0 {
		t.Fatalf("ldlinux.sys is at %d", at)
	}
	if _, _, err := l.Patch(0xffffffffff, "elsewhere"); err != nil {
		t.Fatal(err)
	}
	gotSys, gotBoot, err := l.Patch(uint64(at/512), "")
	if err != nil || !bytes.Equal(gotSys, sys) || !bytes.Equal(gotBoot, boot) {
		t.Errorf("other bytes than the installer's: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	sys, boot := loader()
	f.Add(sys[:4096], boot)
	f.Fuzz(func(t *testing.T, sys, boot []byte) {
		l, err := syslinux.Parse(sys, boot)
		if err != nil {
			return
		}
		out, _, err := l.Patch(12345, "boot")
		if err == nil && int64(len(out)) != l.Size() {
			t.Errorf("%d bytes, want %d", len(out), l.Size())
		}
	})
}
