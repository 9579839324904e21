package qemu

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// archive is a tar of names and contents, in this order.
func archive(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[i+1])), Format: tar.FormatPAX}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhatIsInAnArchive(t *testing.T) {
	disk := string(at(4<<20, map[int]string{510: "\x55\xaa", 3 << 20: "x"}))
	boot := archive(t, "kernel", "a kernel", "initrd.img", "an initrd", "cmdline", "quiet")
	for _, c := range []struct {
		name string
		file []byte
		want Kind
		err  string
	}{
		{"gcp", zipped(t, archive(t, "disk.raw", disk)), Disk, ""},
		{"tar-kernel-initrd", boot, Files, ""},
		{"oci", archive(t, "oci-layout", "{}", "index.json", "{}", "blobs/sha256/00", "{}", "blobs/sha256/01", string(zipped(t, boot))), Files, ""},
		{"names that lead elsewhere", archive(t, "../kernel", "x", "/initrd.img", "y"), "", "nothing in this archive that a machine boots"},
		{"a root filesystem", archive(t, "bin/sh", "x"), "", "none of the formats gcp, tar-kernel-initrd and oci"},
		{"a boot archive without an initrd", archive(t, "kernel", "x"), "", "nor a root file system"},
		{"an archive that is cut short", zipped(t, archive(t, "disk.raw", disk))[:200], "", "unexpected EOF"},
		{"a tar that is cut short", boot[:515], "", "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(dir, "unpacked")
			if err := os.Mkdir(to, 0o700); err != nil {
				t.Fatal(err)
			}
			got, err := Unpack(path, to)
			var image *Image
			if err == nil {
				image, err = Detect(got)
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, %v, want %q", image, err, c.err)
				}
				return
			}
			if err != nil || image.Kind != c.want {
				t.Fatalf("got %+v, %v, want %s", image, err, c.want)
			}
			if c.want == Files && image.Line != "quiet" {
				t.Errorf("the command line is %q", image.Line)
			}
			if c.want == Disk {
				same, err := os.ReadFile(got)
				if err != nil || string(same) != disk {
					t.Errorf("the disk is another one: %d bytes, %v", len(same), err)
				}
				info, err := os.Stat(got)
				if err != nil || info.Sys().(*syscall.Stat_t).Blocks*512 > 1<<20 {
					t.Errorf("zeros take room on the disk: %+v, %v", info.Sys(), err)
				}
			}
		})
	}
}

func TestWhatIsNoArchiveStays(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, at(1<<20, map[int]string{510: "\x55\xaa"}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{disk, dir, filepath.Join(dir, "gone")} {
		if got, err := Unpack(path, t.TempDir()); err != nil || got != path {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
}
