package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestFormatsAreReadByOthers has programs that are not Kiln's check what each format is, and compares the tree in it with
// that of the tar.
func TestFormatsAreReadByOthers(t *testing.T) {
	w := prepared(t)
	if os.Geteuid() != 0 {
		t.Skip("trees with owners are unpacked as root only")
	}
	dir := w.build(t, append([]string{"--arch", "amd64", "--format",
		"tar,kernel+squashfs,kernel+erofs,iso-bios,iso-efi,iso-efi-initrd,raw-bios,raw-efi,raw-efi-verity,qcow2-bios,qcow2-efi,gcp,vhd,vmdk,uki,oci"}, loaders...)...)
	plain := w.build(t, "--arch", "amd64", "--format", "kernel+iso", "--name", "plain")
	fixed := w.build(t, append([]string{"--arch", "amd64", "--format", "dynamic-vhd", "--name", "dynamic"}, loaders...)...)
	file := func(suffix string) string { return filepath.Join(dir, "hello"+suffix) }
	tree := t.TempDir()
	tool(t, "tar", "-C", tree, "--xattrs", "-xpf", file(".tar"))
	whole := listing(t, tree, "")
	root := listing(t, tree, "boot/")

	for _, c := range []struct {
		name    string
		command []string
		want    []string // that the program must say
	}{
		{"raw-efi: partitions", []string{"sgdisk", "-v", file("-efi.img")}, []string{"No problems found"}},
		{"raw-efi-verity: partitions", []string{"sgdisk", "-v", file("-verity.img")}, []string{"No problems found"}},
		{"raw-bios: partitions", []string{"sfdisk", "--verify", file("-bios.img")}, nil},
		{"raw-efi: FAT", []string{"fsck.vfat", "-n", partition(t, file("-efi.img"), 1)}, nil},
		{"raw-bios: FAT", []string{"fsck.vfat", "-n", partition(t, file("-bios.img"), 1)}, nil},
		{"qcow2-bios", []string{"qemu-img", "check", file(".qcow2")}, []string{"No errors"}},
		{"qcow2-efi", []string{"qemu-img", "check", file("-efi.qcow2")}, []string{"No errors"}},
		{"qcow2-efi: contents", []string{"qemu-img", "compare", file("-efi.qcow2"), file("-efi.img")}, []string{"identical"}},
		{"vmdk", []string{"qemu-img", "check", file(".vmdk")}, []string{"No errors"}},
		{"vmdk: contents", []string{"qemu-img", "compare", file(".vmdk"), file("-bios.img")}, []string{"identical"}},
		{"vhd", []string{"qemu-img", "info", "-f", "vpc", file(".vhd")}, []string{"file format: vpc"}},
		{"dynamic-vhd", []string{"qemu-img", "info", "-f", "vpc", filepath.Join(fixed, "dynamic.vhd")}, []string{"file format: vpc"}},
		{"dynamic-vhd: contents", []string{"qemu-img", "compare", "-f", "vpc", "-F", "vpc", filepath.Join(fixed, "dynamic.vhd"), file(".vhd")}, []string{"identical"}},
		{"gcp", []string{"tar", "-tvzf", file(".img.tar.gz")}, []string{"1073741824", "disk.raw"}},
		{"iso-bios: boot", []string{"xorriso", "-indev", file(".iso"), "-report_el_torito", "plain"}, []string{"BIOS", "/isolinux/isolinux.bin"}},
		{"iso-efi: boot", []string{"xorriso", "-indev", file("-efi.iso"), "-report_el_torito", "plain"}, []string{"UEFI"}},
		{"iso-efi-initrd: boot", []string{"xorriso", "-indev", file("-efi-initrd.iso"), "-report_el_torito", "plain"}, []string{"UEFI"}},
		{"uki", []string{"objdump", "-h", file(".efi")}, []string{".linux", ".initrd", ".cmdline", ".osrel"}},
		{"kernel+erofs", []string{"fsck.erofs", file("-erofs.img")}, nil},
		{"oci", []string{"skopeo", "inspect", "oci-archive:" + file("-oci.tar") + ":latest"}, []string{"\"Architecture\": \"amd64\""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := tool(t, c.command...)
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("%s says nothing of %q:\n%s", c.command[0], want, said)
				}
			}
		})
	}
	for _, c := range []struct {
		name, suffix string
		unpack       func(t *testing.T, file, to string)
		want         []string
		more         []string // what the format has beside the tree
	}{
		{"kernel+squashfs", "-squashfs.img", unsquash, root, nil},
		{"kernel+erofs", "-erofs.img", mounted("erofs"), root, nil},
		{"iso-bios", ".iso", unISO, whole, []string{"isolinux", "boot.cat", "boot/initrd.img", "boot/boot.cat"}},
		{"iso-efi", "-efi.iso", unISO, whole, []string{"boot/efi.img", "boot.cat", "boot/boot.cat"}},
		{"kernel+iso", "", unISO, root, nil},
	} {
		t.Run(c.name+": tree", func(t *testing.T) {
			from := file(c.suffix)
			if c.suffix == "" {
				from = filepath.Join(plain, "plain.iso")
			}
			to := t.TempDir()
			c.unpack(t, from, to)
			got := listing(t, to, "", c.more...)
			for _, line := range got {
				if !slices.Contains(c.want, line) {
					t.Errorf("only in %s: %s", c.name, line)
				}
			}
			for _, line := range c.want {
				if !slices.Contains(got, line) {
					t.Errorf("only in the tar: %s", line)
				}
			}
		})
	}
}

// tool runs a program, and skips when it is not installed.
func tool(t *testing.T, command ...string) string {
	t.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skipf("%s is not installed; `make test` installs it", command[0])
	}
	out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// partition copies one partition of a disk into a file.
func partition(t *testing.T, disk string, number int) string {
	t.Helper()
	var start, size int64
	for line := range strings.Lines(tool(t, "sfdisk", "-d", disk)) {
		name, rest, ok := strings.Cut(line, " : ")
		if ok && strings.HasSuffix(strings.TrimSpace(name), fmt.Sprint(number)) {
			for field := range strings.SplitSeq(rest, ",") {
				if n, ok := strings.CutPrefix(strings.TrimSpace(field), "start="); ok {
					_, _ = fmt.Sscan(n, &start)
				} else if n, ok := strings.CutPrefix(strings.TrimSpace(field), "size="); ok {
					_, _ = fmt.Sscan(n, &size)
				}
			}
		}
	}
	if size == 0 {
		t.Fatalf("%s has no partition %d", disk, number)
	}
	to := filepath.Join(t.TempDir(), "partition")
	tool(t, "dd", "if="+disk, "of="+to, "bs=512", fmt.Sprintf("skip=%d", start), fmt.Sprintf("count=%d", size), "status=none")
	return to
}

func unsquash(t *testing.T, file, to string) {
	t.Helper()
	tool(t, "unsquashfs", "-f", "-d", to, file)
}

func unISO(t *testing.T, file, to string) {
	t.Helper()
	tool(t, "xorriso", "-osirrox", "on:auto_chmod_off", "-indev", file, "-extract", "/", to)
}

// mounted copies a tree out of a mounted file system.
func mounted(kind string) func(t *testing.T, file, to string) {
	return func(t *testing.T, file, to string) {
		t.Helper()
		at := t.TempDir()
		if out, err := exec.Command("mount", "-t", kind, "-o", "loop,ro", file, at).CombinedOutput(); err != nil {
			t.Skipf("this kernel mounts no %s: %v %s", kind, err, out)
		}
		defer exec.Command("umount", at).Run()
		tool(t, "cp", "-a", at+"/.", to)
	}
}

// listing describes each file below dir: type, mode, owner, size and contents or target. Skipped are what begins with
// skip, and the names in without with all below them.
func listing(t *testing.T, dir, skip string, without ...string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." || skip != "" && strings.HasPrefix(name, skip) {
			return err
		}
		for _, w := range without {
			if name == w || strings.HasPrefix(name, w+"/") {
				return nil
			}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%s %o %d:%d", name, st.Mode, st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", st.Size, sha256.Sum256(b))
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + to
		case info.Mode()&fs.ModeDevice != 0:
			line += fmt.Sprintf(" %d", st.Rdev)
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
