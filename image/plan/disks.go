package plan

import (
	"fmt"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
)

// diskFile is a disk of a layout, wrapped for whoever loads it.
func (img *image) diskFile(layout, wrap string) nodeOutput {
	var from input
	switch layout {
	case step.DiskBIOS:
		from = img.biosDisk(roundings[wrap])
	case step.DiskEFI:
		from = img.disk(layout, "UEFI disk", step.DiskParams{}, img.memoryUKI())
	default:
		from = img.verityDisk()
	}
	label := "disk .img"
	if wrap != "file" {
		label = "disk ." + wrap
	}
	return img.artifact(label+" ("+layout+")", step.ArtifactParams{Format: wrap}, []input{from.renamed("file")})
}

// roundings are what clouds want the size of a disk to be a multiple of, in bytes.
var roundings = map[string]int64{"gcp": 1 << 30, "vhd": 1 << 20, "dynamic-vhd": 1 << 20}

// disk puts boot files on a disk.
func (img *image) disk(layout, label string, params step.DiskParams, inputs ...input) input {
	params.Layout, params.Arch, params.Size, params.State = layout, img.arch(), img.in.DiskSize, img.in.StateSize
	return nodeInput("disk", nodeOutput{img.graph.add(step.Disk, label, params, inputs), "disk"})
}

func (img *image) biosDisk(round int64) input {
	initrd, _ := img.initrdFile()
	return img.disk(step.DiskBIOS, "BIOS disk", step.DiskParams{Cmdline: img.m.Kernel.Cmdline, Round: round},
		img.fromKernel(), nodeInput("initrd", initrd),
		img.syslinuxFile("ldlinux.sys", "usr/lib/syslinux/ldlinux.sys"), img.syslinuxFile("ldlinux.bss", "usr/lib/syslinux/ldlinux.bss"),
		img.syslinuxFile("ldlinux.c32", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
		img.syslinuxFile("mbr.bin", "usr/lib/syslinux/mbr/mbr.bin").renamed("mbr"))
}

// verityDisk has the root filesystem on the disk, and in the command line the one hash that all its bytes lead to. What
// looks for the partitions finds them by that hash (Discoverable Partitions Specification).
func (img *image) verityDisk() input {
	initrd, _ := img.rootInitrd() // checkFormat has made sure that there is one
	var root nodeOutput
	if img.in.RootFS == step.SquashFS {
		root = img.squashfs()
	} else {
		root = img.erofs()
	}
	verity := img.graph.add(step.Verity, "dm-verity tree", step.VerityParams{}, []input{nodeInput("image", root)})
	hash := nodeInput("roothash", nodeOutput{verity, "roothash"})
	uki := img.uki("unified kernel image (verity)", join(img.m.Kernel.Cmdline, "rootfstype="+img.in.RootFS+" ro"), initrd, hash)
	return img.disk(step.DiskVerity, "UEFI disk with a verified root", step.DiskParams{},
		uki, nodeInput("root", root), nodeInput("hash", nodeOutput{verity, "hash"}), hash)
}

func (img *image) squashfsFile() (nodeOutput, bool) {
	return img.fileOf("squashfs", img.squashfs()), true
}
func (img *image) erofsFile() (nodeOutput, bool) { return img.fileOf("erofs", img.erofs()), true }

func (img *image) fileOf(what string, from nodeOutput) nodeOutput {
	return img.artifact(what+" (file)", step.ArtifactParams{Format: "file"}, []input{nodeInput("file", from)})
}

func (img *image) erofs() nodeOutput {
	return img.filesystem("erofs", step.FileSystemParams{Kind: step.EROFS}, nil)
}

// squashfs is made of the compressed blocks of each part, so that a part that did not change is not compressed again.
func (img *image) squashfs() nodeOutput {
	var blocks []input
	for _, p := range img.parts {
		if p.tarOnly != "" {
			continue
		}
		node := img.graph.add(step.SquashPart, p.label+" (squashfs)",
			step.SquashPartParams{Root: inInitrd(p.root), Compress: img.in.Compress}, bodiesOf(p), p.sources...)
		n := len(blocks) / 2
		blocks = append(blocks, nodeInput(fmt.Sprintf("blocks/%d", n), nodeOutput{node, "blocks"}), nodeInput(fmt.Sprintf("table/%d", n), nodeOutput{node, "table"}))
	}
	return img.filesystem("squashfs", step.FileSystemParams{Kind: step.SquashFS, Compress: img.in.Compress}, blocks)
}

func bodiesOf(p part) []input { return append(append([]input(nil), p.trees...), p.bodies...) }

// filesystem is the whole root in one file system.
func (img *image) filesystem(label string, params step.FileSystemParams, more []input) nodeOutput {
	var inputs []input
	for _, p := range img.parts {
		if p.tarOnly != "" {
			continue
		}
		n := len(params.Roots)
		root := p.root
		if !params.KeepBoot {
			root = inInitrd(root)
		}
		params.Roots, params.Labels = append(params.Roots, root), append(params.Labels, p.label)
		for i, t := range p.trees {
			name := fmt.Sprintf("tree/%d", n)
			if p.root.Rule == step.RuleAPK {
				name += fmt.Sprintf("/%d", i)
			}
			inputs = append(inputs, t.renamed(name))
		}
		for i, b := range p.bodies {
			inputs = append(inputs, b.renamed(fmt.Sprintf("body/%d/%d", n, i)))
		}
	}
	node := img.graph.add(step.FileSystem, label, params, append(inputs, more...))
	for _, p := range img.parts {
		for _, s := range p.sources {
			img.graph.addSource(img.graph.nodes[node], s)
		}
	}
	return nodeOutput{node, "image"}
}

func (img *image) isoFile() (nodeOutput, bool) {
	return img.fileOf("ISO", img.filesystem("ISO 9660", step.FileSystemParams{Kind: step.ISO9660}, nil)), true
}

// cdrom is the device of the root filesystem when the command line names none, as LinuxKit has it.
func (img *image) cdrom() string {
	device := "/dev/sr0"
	if img.arch() == "arm64" {
		device = "/dev/vda"
	}
	for field := range strings.FieldsSeq(img.m.Kernel.Cmdline) {
		if strings.HasPrefix(field, "root=") {
			return img.m.Kernel.Cmdline
		}
	}
	return join(img.m.Kernel.Cmdline, "root="+device)
}

func (img *image) isoBIOS() (nodeOutput, bool) {
	more := []input{
		img.syslinuxFile("isolinux.bin", "usr/lib/ISOLINUX/isolinux.bin"),
		img.syslinuxFile("ldlinux.c32", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
		img.syslinuxFile("isohdpfx.bin", "usr/lib/ISOLINUX/isohdpfx.bin").renamed("mbr"),
	}
	if initrd, ok := img.rootInitrd(); ok {
		more = append(more, initrd)
	}
	return img.fileOf("ISO for BIOS", img.filesystem("ISO 9660 for BIOS",
		step.FileSystemParams{Kind: step.ISO9660, KeepBoot: true, Cmdline: img.cdrom()}, more)), true
}

func (img *image) isoEFI() (nodeOutput, bool) {
	var initrd []input
	if in, ok := img.rootInitrd(); ok {
		initrd = append(initrd, in)
	}
	uki := img.uki("unified kernel image (ISO)", img.cdrom(), initrd...)
	return img.fileOf("ISO for UEFI", img.filesystem("ISO 9660 for UEFI", step.FileSystemParams{Kind: step.ISO9660, KeepBoot: true, Arch: img.arch()}, []input{uki})), true
}

// isoEFIInitrd has nothing on it but what boots.
func (img *image) isoEFIInitrd() (nodeOutput, bool) {
	params := step.FileSystemParams{Kind: step.ISO9660, Roots: []step.Root{}, Labels: []string{}, Arch: img.arch()}
	node := img.graph.add(step.FileSystem, "ISO 9660 of a unified kernel image", params, []input{img.memoryUKI()})
	return img.fileOf("ISO for UEFI, in memory", nodeOutput{node, "image"}), true
}

// rpi3 is what the Raspberry Pi 3 finds on its card: U-Boot and its firmware out of the image of boot loaders.
func (img *image) rpi3() (nodeOutput, bool) {
	initrd, _ := img.initrdFile()
	kernel, err := img.tree(img.m.Kernel.Ref().String())
	if err != nil {
		img.fail(err)
		return nodeOutput{}, false
	}
	boot, err := img.tree(img.in.Boot)
	if err != nil {
		img.fail(err)
		return nodeOutput{}, false
	}
	root := inInitrd(img.parts[0].root) // the kernel comes first
	return img.artifact("Raspberry Pi 3 .tar", step.ArtifactParams{Format: "rpi3", Text: img.m.Kernel.Cmdline, Root: &root},
		[]input{img.fromKernel(), nodeInput("initrd", initrd), kernel.renamed("kernel-tree"), boot.renamed("boot-tree")}), true
}

// ociLayout is the boot files as an OCI image, with its SBOM as a referrer.
func (img *image) ociLayout() (nodeOutput, bool) {
	boot, _ := img.bootTar()
	inputs := []input{nodeInput("layer", boot)}
	for _, p := range img.parts {
		if p.label == sbomLabel {
			inputs = append(inputs, p.trees[0].renamed("sbom"))
		}
	}
	return img.artifact("OCI layout", step.ArtifactParams{Format: "oci", Text: img.platform}, inputs), true
}

func mustDigest(text string) cache.Digest {
	d, _ := cache.ParseDigest(text)
	return d
}
