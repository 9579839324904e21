package assemble

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
	"github.com/kiln-farm/kiln/image/tree"
	"github.com/kiln-farm/kiln/image/uimage"
)

const (
	rpi3Load  = 0x80000 // where U-Boot puts the kernel, and starts it
	rpi3Files = "rpi3/" // of the image of boot loaders: firmware and U-Boot, as they go to the card
	rpi3UBoot = "u-boot.bin"
)

// rpi3Config makes the firmware start U-Boot with a serial console, when the image of boot loaders has no config.txt.
const rpi3Config = "avoid_warnings=2\narm_control=0x200\nenable_uart=1\nkernel=u-boot.bin\n"

// rpi3Script is what U-Boot runs: it loads the three files from the card's first partition and starts the kernel.
const rpi3Script = `setenv bootargs "%CMDLINE%"
setenv loadaddr 0x01000000
setenv machid 0x00000c42

fatload mmc 0:1 ${loadaddr} kernel.uimg
fatload mmc 0:1 ${fdt_addr_r} dtb/${fdtfile}
fatload mmc 0:1 ${ramdisk_addr_r} initrd.uimg
bootm ${loadaddr} ${ramdisk_addr_r} ${fdt_addr_r}
`

// rpi3Tar is a tar of the files for a Raspberry Pi 3's card.
func (b *assembly) rpi3Tar(params *step.ArtifactParams) {
	if params.Root == nil {
		b.err = errors.New("a step for a Raspberry Pi 3 lacks its kernel's place")
		return
	}
	cmdline, root := params.Text, *params.Root
	kernel, initrd := b.described("kernel"), b.described("initrd")
	if b.err != nil {
		return
	}
	if strings.ContainsAny(cmdline, "\"\n\r\x00") {
		b.err = step.Failf("the kernel's command line has a quote or more than one line, which U-Boot's script cannot pass on; write it without")
		return
	}
	files := map[string]*extents.List{"config.txt": extents.Bytes([]byte(rpi3Config))}
	b.treeFiles("boot-tree", func(name string) (string, bool) { return strings.CutPrefix(name, rpi3Files) }, files)
	if files[rpi3UBoot] == nil && b.err == nil {
		b.err = step.Failf("the image of boot loaders has no %s%s; put U-Boot for the Raspberry Pi 3 there, and its firmware beside it", rpi3Files, rpi3UBoot)
	}
	b.treeBlobs(root, files)
	header := uimage.Header{OS: uimage.Linux, Arch: uimage.ARM64, Time: part.DefaultTime}
	compression := uimage.None
	if b.magic(kernel) {
		compression = uimage.Gzip
	}
	for _, f := range []struct {
		name    string
		content *extents.List
		header  uimage.Header
	}{
		{"boot.scr", extents.Bytes([]byte(strings.Replace(rpi3Script, "%CMDLINE%", cmdline, 1))), uimage.Header{Type: uimage.Script, Name: "RPi3"}},
		{"kernel.uimg", extents.Of(kernel), uimage.Header{Type: uimage.Kernel, Compression: compression, Load: rpi3Load, Entry: rpi3Load}},
		{"initrd.uimg", extents.Of(initrd), uimage.Header{Type: uimage.RAMDisk, Compression: uimage.None}},
	} {
		f.header.OS, f.header.Arch, f.header.Time = header.OS, header.Arch, header.Time
		if b.err != nil {
			return
		}
		files[f.name], b.err = read(b.ctx, b.req, f.content, func(ctx context.Context, l *extents.List, r io.ReaderAt) (*extents.List, error) {
			return uimage.Wrap(ctx, l, r, f.header)
		})
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b.tarFile(name, files[name])
	}
	b.add(artifact.Extent{Length: tarEnd})
}

// treeBlobs adds the device trees of the kernel's image.
func (b *assembly) treeBlobs(root step.Root, files map[string]*extents.List) {
	if b.err != nil {
		return
	}
	b.err = part.Walk(b.ctx, b.req.Blobs, root, []cache.Digest{b.req.Input("kernel-tree")}, func(e *tree.Entry) error {
		base := path.Base(e.Name)
		if e.Type == tar.TypeReg && strings.HasPrefix(base, "bcm2837-rpi-3-b") && strings.HasSuffix(base, ".dtb") {
			files["dtb/broadcom/"+base] = extents.Of(stepio.OfBody(e.Body))
		}
		return nil
	})
}

// treeFiles adds files of a tree, under the names that pick gives them.
func (b *assembly) treeFiles(input string, pick func(name string) (string, bool), files map[string]*extents.List) {
	if b.err != nil {
		return
	}
	b.err = part.Each(b.ctx, b.req.Blobs, b.req.Input(input), func(e *tree.Entry) error {
		to, ok := pick(path.Clean(strings.TrimPrefix(e.Name, "./")))
		if ok && e.Type == tar.TypeReg {
			files[to] = extents.Of(stepio.OfBody(e.Body))
		}
		return nil
	})
}

// magic says that a kernel is compressed with gzip.
func (b *assembly) magic(kernel *artifact.Artifact) bool {
	r, err := artifact.Open(b.ctx, b.req.Blobs, kernel)
	if err != nil {
		b.err = err
		return false
	}
	defer r.Close()
	var head [2]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		b.err = stepio.Missing(err, kernel, b.req)
		return false
	}
	return head == [2]byte{0x1f, 0x8b}
}
