package e2e

import (
	"bytes"
	"debug/pe"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bootsIn says where each format that runs in memory has what it boots.
var bootsIn = []struct {
	format, suffix string
	arch           string
	take           func(t *testing.T, file string) (kernel, initrd []byte)
}{
	{"raw-bios", "-bios.img", "amd64", fromSyslinux},
	{"qcow2-bios", ".qcow2", "amd64", fromSyslinux},
	{"aws", ".raw", "amd64", fromSyslinux},
	{"gcp", ".img.tar.gz", "amd64", fromSyslinux},
	{"vhd", ".vhd", "amd64", fromSyslinux},
	{"dynamic-vhd", ".vhd", "amd64", fromSyslinux},
	{"vmdk", ".vmdk", "amd64", fromSyslinux},
	{"raw-efi", "-efi.img", "amd64", fromSystemPartition},
	{"qcow2-efi", "-efi.qcow2", "amd64", fromSystemPartition},
	{"iso-efi-initrd", "-efi-initrd.iso", "amd64", fromISO},
	{"uki", ".efi", "amd64", fromUKI},
	{"tar-kernel-initrd", "-initrd.tar", "amd64", fromTar},
	{"oci", "-oci.tar", "amd64", fromOCI},
	{"raw-efi", "-efi.img", "arm64", fromSystemPartition},
	{"qcow2-efi", "-efi.qcow2", "arm64", fromSystemPartition},
	{"iso-efi-initrd", "-efi-initrd.iso", "arm64", fromISO},
	{"uki", ".efi", "arm64", fromUKI},
	{"oci", "-oci.tar", "arm64", fromOCI},
	{"rpi3", ".tar", "arm64", fromCard},
}

// TestFormatsHoldWhatBoots takes kernel and initrd out of each format with programs that are not Kiln's: they are those of
// kernel+initrd, whose tree is the tar's.
func TestFormatsHoldWhatBoots(t *testing.T) {
	w := prepared(t)
	if os.Geteuid() != 0 {
		t.Skip("trees with owners are unpacked as root only")
	}
	dirs := map[string]string{}
	for arch, builds := range map[string][]string{
		"amd64": {"tar,kernel+initrd,tar-kernel-initrd,raw-bios,qcow2-bios,aws,gcp,vhd,vmdk,raw-efi,qcow2-efi,iso-efi-initrd,uki,oci", "dynamic-vhd"},
		"arm64": {"kernel+initrd,raw-efi,qcow2-efi,iso-efi-initrd,uki,oci", "rpi3"},
	} {
		for _, formats := range builds {
			dir := w.build(t, append([]string{"--arch", arch, "--format", formats}, loaders...)...)
			for format := range strings.SplitSeq(formats, ",") {
				dirs[arch+" "+format] = dir
			}
		}
	}
	for _, c := range bootsIn {
		t.Run(c.format+" "+c.arch, func(t *testing.T) {
			if c.format == "gcp" { // a GiB to unpack
				full(t)
			}
			kernel, initrd := c.take(t, filepath.Join(dirs[c.arch+" "+c.format], "hello"+c.suffix))
			for _, part := range []struct {
				name string
				got  []byte
			}{{"kernel", kernel}, {"initrd.img", initrd}} {
				want := read(t, filepath.Join(dirs[c.arch+" kernel+initrd"], "hello-"+part.name))
				if !bytes.Equal(part.got, want) {
					t.Errorf("its %s of %d bytes is not that of kernel+initrd, of %d bytes", part.name, len(part.got), len(want))
				}
			}
		})
	}
	t.Run("the initrd's tree is the tar's", func(t *testing.T) {
		dir := dirs["amd64 kernel+initrd"]
		tree, unpacked := t.TempDir(), t.TempDir()
		tool(t, "tar", "-C", tree, "-xpf", filepath.Join(dir, "hello.tar"))
		tool(t, "sh", "-c", `cd "$1" && zcat "$2" | cpio --extract --quiet --make-directories --unconditional`, "sh", unpacked, filepath.Join(dir, "hello-initrd.img"))
		sameTree(t, "the initrd", listing(t, unpacked, ""), listing(t, tree, "boot/"))
	})
}

// TestAVerifiedRootIsReadByOthers: a disk with dm-verity over either file system.
func TestAVerifiedRootIsReadByOthers(t *testing.T) {
	w := prepared(t)
	if os.Geteuid() != 0 {
		t.Skip("trees with owners are unpacked as root only")
	}
	tree := t.TempDir()
	dir := w.build(t, "--arch", "amd64", "--format", "tar")
	tool(t, "tar", "-C", tree, "-xpf", filepath.Join(dir, "hello.tar"))
	for _, c := range []struct {
		arch, root string
		check      []string
		unpack     func(t *testing.T, file, to string)
	}{
		{"amd64", "erofs", []string{"fsck.erofs"}, mounted("erofs")},
		{"amd64", "squashfs", []string{"unsquashfs", "-stat"}, unsquash},
		{"arm64", "erofs", []string{"fsck.erofs"}, nil},
	} {
		t.Run(c.root+" "+c.arch, func(t *testing.T) {
			disk := filepath.Join(w.build(t, append([]string{"--arch", c.arch, "--format", "raw-efi-verity", "--root-fs", c.root, "--state-size", "16M"}, loaders...)...), "hello-verity.img")
			tool(t, "sgdisk", "-v", disk)
			tool(t, "fsck.vfat", "-n", partition(t, disk, 1))
			root, hashes := partition(t, disk, 2), partition(t, disk, 3)
			hash := partitionID(t, disk, 2) + partitionID(t, disk, 3) // Discoverable Partitions Specification
			tool(t, "veritysetup", "verify", root, hashes, hash)
			tool(t, append(c.check, root)...)
			if c.unpack != nil {
				to := t.TempDir()
				c.unpack(t, root, to)
				sameTree(t, c.root, listing(t, to, ""), listing(t, tree, "boot/"))
			}
			_, uki := ukiOf(t, mcopy(t, partition(t, disk, 1), efiNames...))
			if line := string(uki[".cmdline"]); !strings.Contains(line, "roothash="+hash) {
				t.Errorf("the command line %q does not name the root hash %s", line, hash)
			}
			if size := len(read(t, partition(t, disk, 4))); size != 16<<20 {
				t.Errorf("the partition for state has %d bytes", size)
			}
		})
	}
}

// sameTree compares listings of a format's tree and of the tar's.
func sameTree(t *testing.T, what string, got, want []string) {
	t.Helper()
	in := func(all []string) map[string]bool {
		set := map[string]bool{}
		for _, line := range all {
			set[line] = true
		}
		return set
	}
	gotSet, wantSet := in(got), in(want)
	for _, line := range got {
		if !wantSet[line] {
			t.Errorf("only in %s: %s", what, line)
		}
	}
	for _, line := range want {
		if !gotSet[line] {
			t.Errorf("only in the tar: %s", line)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plainDisk is the disk in whatever clothes.
func plainDisk(t *testing.T, file string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "disk.raw")
	switch {
	case strings.HasSuffix(file, ".tar.gz"):
		tool(t, "tar", "-C", filepath.Dir(to), "--sparse", "-xzf", file, "disk.raw")
	case strings.HasSuffix(file, ".img"), strings.HasSuffix(file, ".raw"):
		return file
	default:
		tool(t, "qemu-img", "convert", "-O", "raw", file, to)
	}
	return to
}

// mcopy takes the first of the files that there is out of a FAT volume.
func mcopy(t *testing.T, volume string, names ...string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "file")
	var said string
	for _, name := range names {
		out, err := exec.CommandContext(t.Context(), "mcopy", "-n", "-i", volume, "::"+name, to).CombinedOutput()
		if err == nil {
			return to
		}
		said += string(out)
	}
	t.Fatalf("mcopy finds none of %q: %s", names, said)
	return ""
}

func fromSyslinux(t *testing.T, file string) (kernel, initrd []byte) {
	t.Helper()
	volume := partition(t, plainDisk(t, file), 1)
	tool(t, "fsck.vfat", "-n", volume)
	return read(t, mcopy(t, volume, "kernel")), read(t, mcopy(t, volume, "initrd.img"))
}

// efiNames are what UEFI starts.
var efiNames = []string{"EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTAA64.EFI"}

func fromSystemPartition(t *testing.T, file string) (kernel, initrd []byte) {
	t.Helper()
	disk := plainDisk(t, file)
	tool(t, "sgdisk", "-v", disk)
	volume := partition(t, disk, 1)
	tool(t, "fsck.vfat", "-n", volume)
	return fromUKI(t, mcopy(t, volume, efiNames...))
}

func fromISO(t *testing.T, file string) (kernel, initrd []byte) {
	t.Helper()
	volume := filepath.Join(t.TempDir(), "efi.img")
	tool(t, "xorriso", "-osirrox", "on", "-indev", file, "-extract", "/boot/efi.img", volume)
	tool(t, "fsck.vfat", "-n", volume)
	return fromUKI(t, mcopy(t, volume, efiNames...))
}

func fromUKI(t *testing.T, file string) (kernel, initrd []byte) {
	t.Helper()
	_, sections := ukiOf(t, file)
	return sections[".linux"], sections[".initrd"]
}

// ukiOf reads a unified kernel image with the standard library, which knows PE on every architecture.
func ukiOf(t *testing.T, file string) (machine uint16, sections map[string][]byte) {
	t.Helper()
	image, err := pe.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	sections = map[string][]byte{}
	for _, s := range image.Sections {
		data, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		sections[s.Name] = data[:min(int(s.VirtualSize), len(data))]
	}
	return image.Machine, sections
}

func fromTar(t *testing.T, file string) (kernel, initrd []byte) {
	t.Helper()
	to := t.TempDir()
	tool(t, "tar", "-C", to, "-xf", file)
	return read(t, filepath.Join(to, "kernel")), read(t, filepath.Join(to, "initrd.img"))
}

func fromOCI(t *testing.T, file string) (kernel, initrd []byte) {
	t.Helper()
	to := t.TempDir()
	tool(t, "skopeo", "--insecure-policy", "copy", "--quiet", "oci-archive:"+file+":latest", "dir:"+to)
	layer := strings.TrimSpace(tool(t, "sh", "-c", `skopeo inspect --format '{{index .Layers 0}}' "$1"`, "sh", "dir:"+to))
	return fromTar(t, filepath.Join(to, strings.TrimPrefix(layer, "sha256:")))
}

// fromCard takes kernel and initrd out of U-Boot's images, which have a header of 64 bytes.
func fromCard(t *testing.T, file string) (kernel, initrd []byte) {
	t.Helper()
	to := t.TempDir()
	tool(t, "tar", "-C", to, "-xf", file)
	for name, want := range map[string][]string{
		"boot.scr":    {"AArch64 Linux Script"},
		"kernel.uimg": {"AArch64 Linux Kernel Image", "Load Address: 00080000"},
		"initrd.uimg": {"AArch64 Linux RAMDisk Image (uncompressed)"},
	} {
		said := tool(t, "mkimage", "-l", filepath.Join(to, name))
		for _, text := range want {
			if !strings.Contains(said, text) {
				t.Errorf("mkimage says nothing of %q in %s:\n%s", text, name, said)
			}
		}
	}
	for _, name := range []string{"config.txt", "u-boot.bin"} {
		if len(read(t, filepath.Join(to, name))) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
	const header = 64
	return read(t, filepath.Join(to, "kernel.uimg"))[header:], read(t, filepath.Join(to, "initrd.uimg"))[header:]
}

// partitionID is a partition's GUID without its hyphens, in small letters.
func partitionID(t *testing.T, disk string, number int) string {
	t.Helper()
	for line := range strings.Lines(tool(t, "sgdisk", "-i", string(rune('0'+number)), disk)) {
		if id, ok := strings.CutPrefix(line, "Partition unique GUID: "); ok {
			return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(id), "-", ""))
		}
	}
	t.Fatalf("sgdisk tells no id of partition %d", number)
	return ""
}

// TestTheIPXEFormatBoots: the files of a build on any web server, and a machine that loads the script.
func TestTheIPXEFormatBoots(t *testing.T) {
	full(t)
	w := prepared(t)
	dir := w.build(t, "--arch", "amd64", "--format", "ipxe")
	port := webServer(t, dir)
	boot(t, x86("-boot", "n", "-netdev", "user,id=n0,bootfile=http://10.0.2.2:"+port+"/hello.ipxe", "-device", "virtio-net-pci,netdev=n0"), milestones("x86_64"))
}
