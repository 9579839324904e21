package qemu

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// at is a file of zeros with some bytes in it.
func at(size int, parts map[int]string) []byte {
	b := make([]byte, size)
	for off, s := range parts {
		copy(b[off:], s)
	}
	return b
}

func TestWhatAFileIs(t *testing.T) {
	const boot = "\x55\xaa"
	for _, c := range []struct {
		name string
		file []byte
		want Image
		err  string
	}{
		{"a BIOS disk", at(1<<20, map[int]string{510: boot}), Image{Kind: Disk, Format: "raw", Arch: "amd64"}, ""},
		{"a UEFI disk", at(2<<20, map[int]string{510: boot, 1 << 20: "BOOTX64 EFI"}), Image{Kind: Disk, Format: "raw", Arch: "amd64", UEFI: true}, ""},
		{"a name over the edge of what is read at once", at(3<<20, map[int]string{510: boot, 1<<20 - 4: "BOOTAA64EFI"}), Image{Kind: Disk, Format: "raw", Arch: "arm64", UEFI: true}, ""},
		{"qcow2", at(1<<20, map[int]string{0: "QFI\xfb"}), Image{Kind: Disk, Format: "qcow2", Arch: "amd64"}, ""},
		{"VMDK", at(1<<20, map[int]string{0: "KDMV"}), Image{Kind: Disk, Format: "vmdk", Arch: "amd64"}, ""},
		{"VHD", at(1<<20, map[int]string{1<<20 - 512: "conectix"}), Image{Kind: Disk, Format: "vpc", Arch: "amd64"}, ""},
		{"an ISO", at(1<<20, map[int]string{0x8001: "CD001"}), Image{Kind: CD, Format: "raw", Arch: "amd64"}, ""},
		{"a UKI", at(4096, map[int]string{0: "MZ", 60: "\x80\x00\x00\x00", 128: "PE\x00\x00\x64\xaa"}), Image{Kind: UKI, Arch: "arm64", UEFI: true}, ""},
		{"a program for another processor", at(4096, map[int]string{0: "MZ", 60: "\x80\x00\x00\x00", 128: "PE\x00\x00\x4c\x01"}), Image{}, "for another architecture"},
		{"a damaged program", at(4096, map[int]string{0: "MZ", 60: "\xff\xff\xff\x7f"}), Image{}, "damaged"},
		{"text", []byte("hello\n"), Image{}, "no image that a machine boots"},
		{"nothing", nil, Image{}, "no image that a machine boots"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Detect(path)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, %v, want %q", got, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.want.Path = path
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheFilesOfABuild(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x := filepath.Join(dir, "x")
	if _, err := Detect(x); err == nil || !strings.Contains(err.Error(), "build it with kiln build") {
		t.Errorf("no files: %v", err)
	}
	write("x-kernel", string(at(64, map[int]string{56: "ARM\x64"})))
	if _, err := Detect(x); err == nil || !strings.Contains(err.Error(), "nor a root file system") {
		t.Errorf("a kernel alone: %v", err)
	}
	write("x-squashfs.img", "root")
	if got, err := Detect(x); err != nil || got.Kind != Root || got.Arch != "arm64" || got.Path != x+"-squashfs.img" {
		t.Errorf("with a root: %+v, %v", got, err)
	}
	write("x-initrd.img", "initrd")
	write("x-cmdline", "quiet\n")
	for _, name := range []string{x, x + "-kernel"} {
		if got, err := Detect(name); err != nil || got.Kind != Files || got.Line != "quiet" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestTheCommandLineOfAMachine(t *testing.T) {
	base := Options{Memory: 512, CPUs: 2, Accel: "tcg", Code: "code,1.fd", Vars: "vars.fd"}
	for _, c := range []struct {
		name  string
		image Image
		more  func(*Options)
		want  []string // that it holds, in this order
		err   string
	}{
		{"kernel and initrd", Image{Kind: Files, Arch: "amd64", Kernel: "k", Initrd: "i", Line: "quiet"}, func(o *Options) { o.Append = "x=1" },
			[]string{"qemu-system-x86_64", "-accel tcg", "-m 512", "-kernel k -initrd i -append quiet x=1"}, ""},
		{"a root filesystem", Image{Kind: Root, Arch: "arm64", Kernel: "k", Path: "r"}, nil,
			[]string{"qemu-system-aarch64", "-cpu cortex-a57", "root=/dev/vda ro", "file=r,readonly=on"}, ""},
		{"a UEFI disk", Image{Kind: Disk, Arch: "amd64", UEFI: true, Format: "qcow2", Path: "a,b"}, nil,
			[]string{"file=code,,1.fd", "file=vars.fd", "if=virtio,format=qcow2,file=a,,b,snapshot=on"}, ""},
		{"what is kept", Image{Kind: Disk, Arch: "amd64", Format: "raw", Path: "d"}, func(o *Options) { o.Keep, o.State, o.Data = true, "s", "m" },
			[]string{"format=raw,file=d -drive if=virtio,format=raw,file=s -drive if=virtio,format=raw,file=m,readonly=on"}, ""},
		{"ports", Image{Kind: Disk, Arch: "amd64", Format: "raw", Path: "d"}, func(o *Options) { o.Publish = []string{"8080:80", "53:53/udp"} },
			[]string{"user,id=n0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:127.0.0.1:53-:53"}, ""},
		{"an ISO", Image{Kind: CD, Arch: "amd64", Path: "c"}, nil, []string{"media=cdrom", "ide-cd,drive=cd,bootindex=0"}, ""},
		{"a port that is none", Image{Kind: Disk, Arch: "amd64"}, func(o *Options) { o.Publish = []string{"80"} }, nil, "HOSTPORT:PORT"},
		{"a BIOS that there is not", Image{Kind: Disk, Arch: "arm64"}, nil, nil, "have no BIOS"},
		{"another architecture", Image{Kind: Disk, Arch: "riscv64"}, nil, nil, "cannot be started"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := base
			if c.more != nil {
				c.more(&o)
			}
			args, err := Command(&c.image, o)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %q, %v, want %q", args, err, c.err)
				}
				return
			}
			line := strings.Join(args, " ")
			for _, want := range c.want {
				i := strings.Index(line, want)
				if err != nil || i < 0 {
					t.Fatalf("%q (%v) has no %q behind that before it", line, err, want)
				}
				line = line[i+len(want):]
			}
		})
	}
}

func TestAVolumeWithMetadata(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "data.iso")
	if err := WriteData(t.Context(), path, []byte("hello"), dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, []byte("cidata")) || !bytes.Contains(b, []byte("hello")) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func FuzzLook(f *testing.F) {
	f.Add(at(0x9000, map[int]string{0: "MZ", 60: "\x80"}))
	f.Add(at(0x9000, map[int]string{510: "\x55\xaa"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if image, err := look(bytes.NewReader(b), int64(len(b))); err == nil && image.Kind == "" {
			t.Error("an image of no kind")
		}
	})
}
