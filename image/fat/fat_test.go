package fat_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat"
	"github.com/kiln-farm/kiln/image/fat/disktest"
)

const mib = 1 << 20

func TestVolumesThatOthersRead(t *testing.T) {
	contents := map[string][]byte{
		"EFI/BOOT/BOOTX64.EFI":               disktest.Noise(1, 700_001),
		"EFI/Linux/linuxkit-kernel.efi":      disktest.Noise(2, 4096),
		"loader/loader.conf":                 []byte("timeout 0\n"),
		"loader/entries/A long name 1.conf":  []byte("one"),
		"loader/entries/A long name 2.conf":  []byte("two"),
		"loader/entries/ALONGN~1.CON":        []byte("in the way"),
		"syslinux.cfg":                       []byte("SERIAL 0\n"),
		"empty":                              {},
		".hidden":                            []byte("h"),
		"two.dots.txt":                       []byte("d"),
		"grüße-日本.txt":                       []byte("u"),
		strings.Repeat("n", 255):             []byte("255"),
		strings.Repeat("t", 13):              []byte("13"),
		strings.Repeat("t", 26):              []byte("26"),
		"deep/er/and/deeper/than/that/x.txt": []byte("x"),
	}
	for i := range 40 {
		contents[fmt.Sprintf("many/a file of many %02d.txt", i)] = []byte{byte(i)}
	}
	for _, tt := range []struct {
		name string
		opts fat.Options
		want fat.Type
		size int64
	}{
		{"as small as it can be", fat.Options{Label: "esp", VolumeID: 0x1234abcd}, fat.FAT12, 1 * mib},
		{"FAT12 of 4 MiB", fat.Options{Type: fat.FAT12, Size: 4 * mib}, fat.FAT12, 4 * mib},
		{"FAT16 as small as it can be", fat.Options{Type: fat.FAT16}, fat.FAT16, 3 * mib},
		{"FAT16 of 20 MiB and a sector", fat.Options{Size: 20*mib + 512, Label: "BOOT"}, fat.FAT16, 20*mib + 512},
		{"FAT32 as small as it can be", fat.Options{Type: fat.FAT32, Label: "My disk"}, fat.FAT32, 33 * mib},
		{"FAT32 of 100 MiB", fat.Options{Size: 100 * mib, Hidden: 2048}, fat.FAT32, 100 * mib},
		{"FAT32 of 700 MiB", fat.Options{Size: 700 * mib}, fat.FAT32, 700 * mib},
		{"FAT32 of 20 GiB", fat.Options{Size: 20 << 30}, fat.FAT32, 20 << 30},
		{"FAT16 of 1 GiB", fat.Options{Type: fat.FAT16, Size: 1 << 30}, fat.FAT16, 1 << 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := disktest.New(t)
			img, err := fat.Build(files(s, contents), tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if img.Type != tt.want || img.List.Size() != tt.size {
				t.Errorf("FAT%s of %d bytes, want FAT%s of %d", img.Type, img.List.Size(), tt.want, tt.size)
			}
			for path, want := range contents {
				off, ok := img.Offset(strings.ToUpper(path))
				if ok != (len(want) > 0) {
					t.Errorf("offset of %q: %d %v", path, off, ok)
				}
				if got := s.Read(img.List, off, int64(len(want))); !bytes.Equal(got, want) {
					t.Errorf("%q is not where it is said to be", path)
				}
			}
			file := s.File("volume.img", img.List)
			judge(t, file, contents)
			if tt.opts.Label != "" {
				if got := disktest.Run(t, "mdir", "-i", file, "::"); !strings.Contains(got, strings.ToUpper(tt.opts.Label)) {
					t.Errorf("no label in %s", got)
				}
			}
		})
	}
}

func files(s *disktest.Store, contents map[string][]byte) []fat.File {
	var files []fat.File
	for path, content := range contents {
		files = append(files, fat.File{Path: path, Content: s.Blob(content)})
	}
	return files
}

// judge has others check a volume and read all of its files.
func judge(t *testing.T, file string, contents map[string][]byte) {
	t.Helper()
	check := disktest.Run(t, "fsck.vfat", "-n", "-v", file)
	for _, line := range strings.Split(check, "\n") {
		if strings.Contains(line, "differ") || strings.Contains(line, "wrong") || strings.Contains(line, "auto-") || strings.Contains(line, "Dirty") {
			t.Errorf("fsck.vfat: %s", line)
		}
	}
	out := t.TempDir()
	disktest.Run(t, "mcopy", "-s", "-n", "-m", "-i", file, "::*", out)
	n := 0
	err := filepath.WalkDir(out, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		got, err := os.ReadFile(path)
		name, _ := filepath.Rel(out, path)
		if want, ok := contents[name]; !ok || !bytes.Equal(got, want) {
			t.Errorf("%q: %d bytes, want %d (known %v)", name, len(got), len(want), ok)
		}
		if info, _ := d.Info(); info.ModTime().UTC().Format("2006-01-02 15:04:05") != "2017-04-18 16:30:00" {
			t.Errorf("%q is of %v", name, info.ModTime())
		}
		return err
	})
	if err != nil || n != len(contents) {
		t.Errorf("%d files, want %d: %v", n, len(contents), err)
	}
}

func TestKernelReadsVolumes(t *testing.T) {
	s := disktest.New(t)
	contents := map[string][]byte{"EFI/BOOT/BOOTX64.EFI": disktest.Noise(1, 100_001), "A name that is 😀.txt": []byte("x")}
	for _, typ := range []fat.Type{fat.FAT12, fat.FAT16, fat.FAT32} {
		img, err := fat.Build(files(s, contents), fat.Options{Type: typ})
		if err != nil {
			t.Fatal(err)
		}
		at := t.TempDir()
		out, err := exec.Command("mount", "-t", "vfat", "-o", "loop,ro,utf8", s.File("volume.img", img.List), at).CombinedOutput()
		if err != nil {
			t.Skipf("cannot mount here, so the kernel does not judge the result: %v: %s", err, out)
		}
		for path, want := range contents {
			if got, err := os.ReadFile(filepath.Join(at, path)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("FAT%s: %q: %d bytes, %v", typ, path, len(got), err)
			}
		}
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func TestOrderOfFilesDoesNotMatter(t *testing.T) {
	list := func(seed uint64) *extents.List {
		var files []fat.File
		for i := range 300 {
			files = append(files, fat.File{Path: fmt.Sprintf("dir %d/some name %d", i%7, i), Content: extents.Bytes([]byte{byte(i)})})
		}
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		img, err := fat.Build(files, fat.Options{VolumeID: 7})
		if err != nil {
			t.Fatal(err)
		}
		return img.List
	}
	s := disktest.New(t)
	if !bytes.Equal(s.Bytes(list(1)), s.Bytes(list(2))) {
		t.Error("the same files in another order give other bytes")
	}
}

func TestAsSmallAsItCanBe(t *testing.T) {
	for _, typ := range []fat.Type{fat.Auto, fat.FAT12, fat.FAT16, fat.FAT32} {
		for _, size := range []int64{0, 1, 900 << 10, 1000 << 10, 3 * mib, 15*mib + 900<<10, 33 * mib, 34 * mib, 60*mib + 5, 100 * mib, 255 * mib, 600 * mib, 2000 * mib, 3<<30 + 1} {
			files := []fat.File{{Path: "EFI/BOOT/BOOTX64.EFI", Content: blob(size)}}
			img, err := fat.Build(files, fat.Options{Type: typ})
			if err != nil {
				if (typ == fat.FAT12 && size >= 127*mib) || (typ == fat.FAT16 && size >= 2000*mib) {
					continue
				}
				t.Errorf("FAT%s for %d bytes: %v", typ, size, err)
				continue
			}
			got := img.List.Size()
			if got%mib != 0 || typ != fat.FAT32 && got > size+size/50+3*mib {
				t.Errorf("FAT%s for %d bytes has %d", typ, size, got)
			}
			if smaller, err := fat.Build(files, fat.Options{Type: typ, Size: got - mib}); got > mib && err == nil {
				t.Errorf("FAT%s for %d bytes has %d, and %d do", typ, size, got, smaller.List.Size())
			}
			inline := 0
			for _, e := range img.List.Runs() {
				inline += len(e.Inline)
			}
			if int64(inline) > 16<<10+size/200+2*512<<10 {
				t.Errorf("FAT%s for %d bytes has %d bytes inline", typ, size, inline)
			}
		}
	}
}

// blob is a blob that nobody stored, for tests that do not read it.
func blob(size int64) *extents.List { return extents.Blob(cache.SumBytes([]byte("blob")), size) }

func TestManySmallFilesInLargeClusters(t *testing.T) {
	var files []fat.File
	for i := range 30_000 {
		files = append(files, fat.File{Path: fmt.Sprintf("%02d/%d", i%100, i), Content: blob(10)})
	}
	files = append(files, fat.File{Path: "large", Content: blob(3 << 30)})
	img, err := fat.Build(files, fat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := img.List.Size(); got > 3<<30+300*mib {
		t.Errorf("%d bytes", got)
	}
}

func TestFaultsAreSentences(t *testing.T) {
	file := func(path string) fat.File { return fat.File{Path: path, Content: blob(1)} }
	for _, tt := range []struct {
		name  string
		files []fat.File
		opts  fat.Options
		want  string
	}{
		{"a file of 4 GiB", []fat.File{{Path: "root.img", Content: blob(1 << 32)}}, fat.Options{}, "another partition"},
		{"too small", []fat.File{{Path: "a", Content: blob(2 * mib)}}, fat.Options{Size: 2 * mib}, "do not fit into a FAT volume of 2097152 bytes"},
		{"no volume of that size", nil, fat.Options{Size: 4096}, "choose 64 KiB"},
		{"FAT32 of 10 MiB", nil, fat.Options{Size: 10 * mib, Type: fat.FAT32}, "33 MiB or more"},
		{"FAT16 of 1 MiB", nil, fat.Options{Size: mib, Type: fat.FAT16}, "3 MiB to"},
		{"FAT16 of 3 GiB", nil, fat.Options{Size: 3 << 30, Type: fat.FAT16}, "or FAT32"},
		{"FAT12 of 1 GiB", nil, fat.Options{Size: 1 << 30, Type: fat.FAT12}, "or FAT16"},
		{"FAT16 of files of 3 GiB", []fat.File{{Path: "a", Content: blob(3 << 30)}}, fat.Options{Type: fat.FAT16}, "do not fit into any FAT16"},
		{"FAT13", nil, fat.Options{Type: 13}, "no FAT13"},
		{"half a sector", nil, fat.Options{Size: mib + 256}, "multiple of 512"},
		{"a negative size", nil, fat.Options{Size: -512}, "multiple of 512"},
		{"3 TiB", nil, fat.Options{Size: 3 << 40}, "2 TiB"},
		{"a label that is long", nil, fat.Options{Label: "ABCDEFGHIJKL"}, "up to 11"},
		{"a label with a dot", nil, fat.Options{Label: "A.B"}, "letters"},
		{"a label that begins with a space", nil, fat.Options{Label: " A"}, "letters"},
		{"half a boot sector", nil, fat.Options{BootSector: make([]byte, 256)}, "256 bytes and needs 512"},
		{"no path", []fat.File{file("")}, fat.Options{}, "empty part"},
		{"two slashes", []fat.File{file("a//b")}, fat.Options{}, "empty part"},
		{"dots", []fat.File{file("a/../b")}, fat.Options{}, "part .."},
		{"a colon", []fat.File{file("a:b")}, fat.Options{}, "':'"},
		{"a backslash", []fat.File{file(`a\b`)}, fat.Options{}, `'\\'`},
		{"a line feed", []fat.File{file("a\nb")}, fat.Options{}, `'\n'`},
		{"a dot at the end", []fat.File{file("a.")}, fat.Options{}, "ignore"},
		{"a space at the end", []fat.File{file("a /b")}, fat.Options{}, "ignore"},
		{"bytes that are no text", []fat.File{file("a\xff")}, fat.Options{}, "UTF-8"},
		{"a name of 256 units", []fat.File{file(strings.Repeat("😀", 128))}, fat.Options{}, "255 UTF-16 units"},
		{"the same but for case", []fat.File{file("EFI/a"), file("efi/A")}, fat.Options{}, "lower case"},
		{"below a file", []fat.File{file("a"), file("A/b")}, fat.Options{}, "which is a file"},
		{"a file above", []fat.File{file("a/b"), file("a.b"), file("a")}, fat.Options{}, "is a file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := fat.Build(tt.files, tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestDirectoryWithTooManyNames(t *testing.T) {
	var files []fat.File
	for i := range 20_000 {
		files = append(files, fat.File{Path: fmt.Sprintf("many/%050d", i)})
	}
	if _, err := fat.Build(files, fat.Options{}); err == nil || !strings.Contains(err.Error(), "spread its files") {
		t.Errorf("got %v", err)
	}
}

func FuzzNames(f *testing.F) {
	f.Add("EFI/BOOT/BOOTX64.EFI", "efi/boot/a long name", "LABEL")
	f.Fuzz(func(t *testing.T, a, b, label string) {
		img, err := fat.Build([]fat.File{{Path: a, Content: blob(5)}, {Path: b, Content: blob(6)}}, fat.Options{Label: label})
		if err != nil {
			return
		}
		if _, ok := img.Offset(a); !ok {
			t.Errorf("%q is nowhere", a)
		}
	})
}
