package uimage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

var epoch = time.Unix(1492533000, 0)

// wrap stores content in a cache, wraps it and reads the result.
func wrap(t *testing.T, content []byte, h Header) []byte {
	t.Helper()
	blobs, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	draft, err := blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	if _, err := draft.Write(content); err != nil {
		t.Fatal(err)
	}
	d, size, err := draft.Commit()
	if err != nil {
		t.Fatal(err)
	}
	list := extents.Blob(d, size)
	open := func(l *extents.List) *artifact.Reader {
		r, err := artifact.Open(t.Context(), blobs, l.Artifact())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	out, err := Wrap(t.Context(), list, open(list), h)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(out.Runs()); got != 2 {
		t.Errorf("%d runs, want a header and the content", got)
	}
	var p bytes.Buffer
	if _, err := open(out).WriteTo(&p); err != nil {
		t.Fatal(err)
	}
	return p.Bytes()
}

func TestMkimageMakesTheSameBytes(t *testing.T) {
	if _, err := exec.LookPath("mkimage"); err != nil {
		t.Skip("not tried: mkimage is not installed (Debian package u-boot-tools)")
	}
	large := bytes.Repeat([]byte("0123456789abcde"), 70000)
	tests := []struct {
		name    string
		content []byte
		header  Header
		args    string // of mkimage
		listed  string
	}{
		{"a boot script", []byte("echo hello\nbooti 0x80000\n"),
			Header{OS: Linux, Arch: ARM64, Type: Script, Name: "boot.scr", Time: epoch},
			"-A arm64 -O linux -T script -C none -n boot.scr", "AArch64 Linux Script (uncompressed)"},
		{"an initrd", large, Header{OS: Linux, Arch: ARM64, Type: RAMDisk, Compression: Gzip, Name: "initrd", Time: epoch},
			"-A arm64 -O linux -T ramdisk -C gzip -n initrd", "AArch64 Linux RAMDisk Image (gzip compressed)"},
		{"a kernel with addresses", large[:12345],
			Header{OS: Linux, Arch: ARM, Type: Kernel, Load: 0x80008000, Entry: 0x80008040, Name: strings.Repeat("n", 32), Time: epoch},
			"-A arm -O linux -T kernel -C none -a 80008000 -e 80008040 -n " + strings.Repeat("n", 32), "Entry Point:  80008040"},
		{"a program of an x86 board", []byte("1"), Header{OS: UBoot, Arch: X86_64, Type: Standalone, Compression: Zstd},
			"-A x86_64 -O u-boot -T standalone -C zstd -n ", "AMD x86_64 U-Boot Standalone Program (zstd compressed)"},
		{"firmware of a RISC-V board", []byte("12"), Header{OS: EFI, Arch: RISCV, Type: Firmware, Compression: LZ4, Name: "f"},
			"-A riscv -O efi -T firmware -C lz4 -n f", "RISC-V EFI Firmware Firmware (lz4 compressed)"},
		{"a filesystem of an old PC", []byte("123"), Header{OS: Linux, Arch: I386, Type: Filesystem, Compression: LZMA, Name: "f"},
			"-A x86 -O linux -T filesystem -C lzma -n f", "Intel x86 Linux Filesystem Image (lzma compressed)"},
		{"a kernel that stays", []byte("1234"), Header{OS: Linux, Arch: ARM64, Type: KernelNoLoad, Compression: LZO, Name: "k"},
			"-A arm64 -O linux -T kernel_noload -C lzo -n k", "Kernel Image (no loading done) (lzo compressed)"},
		{"a program", []byte("1234"), Header{OS: UBoot, Arch: ARM64, Type: Standalone, Compression: Bzip2, Name: "k"},
			"-A arm64 -O u-boot -T standalone -C bzip2 -n k", "Standalone Program (bzip2 compressed)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := wrap(t, test.content, test.header)
			dir := t.TempDir()
			content, ours, theirs := filepath.Join(dir, "content"), filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
			for name, p := range map[string][]byte{content: test.content, ours: got} {
				if err := os.WriteFile(name, p, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("mkimage", append(strings.Split(test.args, " "), "-d", content, theirs)...)
			cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(test.header.seconds(), 10))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("mkimage: %v: %s", err, out)
			}
			want, err := os.ReadFile(theirs)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%x\nwant\n%x", got[:headerLen+scriptTable], want[:headerLen+scriptTable])
			}
			out, err := exec.Command("mkimage", "-l", ours).CombinedOutput()
			if err != nil || !strings.Contains(string(out), test.listed) {
				t.Errorf("no %q in what mkimage lists: %v\n%s", test.listed, err, out)
			}
		})
	}
}

// The header of a known image, so that it is checked without mkimage as well.
func TestTheHeaderOfAScript(t *testing.T) {
	got := wrap(t, []byte("boot"), Header{OS: Linux, Arch: ARM64, Type: Script, Load: 1, Entry: 2, Name: "n"})
	want := "\x27\x05\x19\x56" + string(got[4:8]) + "\x00\x00\x00\x00" + "\x00\x00\x00\x0c" + "\x00\x00\x00\x01\x00\x00\x00\x02" +
		string(got[24:28]) + "\x05\x16\x06\x00" + "n" + strings.Repeat("\x00", 31) + "\x00\x00\x00\x04\x00\x00\x00\x00" + "boot"
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatUBootCannotTakeGetsASentence(t *testing.T) {
	large, one := &extents.List{}, extents.Bytes([]byte("1"))
	large.Zeros(4<<30 - scriptTable)
	good := Header{OS: Linux, Arch: ARM64, Type: Script}
	with := func(change func(*Header)) Header {
		h := good
		change(&h)
		return h
	}
	tests := []struct {
		name    string
		content *extents.List
		header  Header
		want    string
	}{
		{"nothing", &extents.List{}, good, "is empty"},
		{"4 GiB with the table", large, good, "less than 4 GiB"},
		{"a long name", one, with(func(h *Header) { h.Name = strings.Repeat("n", 33) }), "up to 32 bytes"},
		{"a name with a NUL", one, with(func(h *Header) { h.Name = "a\x00b" }), "no NUL"},
		{"a time before 1970", one, with(func(h *Header) { h.Time = time.Unix(-1, 0) }), "from 1970 to 2106"},
		{"a time after 2106", one, with(func(h *Header) { h.Time = time.Unix(1<<32, 0) }), "from 1970 to 2106"},
		{"many files", one, with(func(h *Header) { h.Type = multi }), "wrap each file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Wrap(t.Context(), test.content, bytes.NewReader(nil), test.header)
			var failure *step.Failure
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestReadingStopsWhenItMust(t *testing.T) {
	content := extents.Bytes([]byte("content"))
	if _, err := Wrap(t.Context(), content, bytes.NewReader([]byte("con")), Header{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Wrap(ctx, content, bytes.NewReader([]byte("content")), Header{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestArchitecturesHaveNumbers(t *testing.T) {
	if got, ok := ArchOf("arm64"); !ok || got != ARM64 {
		t.Errorf("arm64 is %d", got)
	}
	if got, ok := ArchOf("s390x"); ok {
		t.Errorf("s390x is %d", got)
	}
}
