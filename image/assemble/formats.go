package assemble

import (
	"bytes"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/compress"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
)

// formats says how the file of each format (step.ArtifactParams) is put together: what is more than a few lines is in a
// file of its name.
func formats() map[string]func(*assembly, *step.ArtifactParams) {
	return map[string]func(*assembly, *step.ArtifactParams){
		"tar":               (*assembly).tar,
		"initrd":            (*assembly).initrd,
		"text":              (*assembly).text,
		"file":              (*assembly).file,
		"lines":             (*assembly).lines,
		"tar-kernel-initrd": (*assembly).bootTar,
		"ipxe":              (*assembly).ipxe,
		"oci":               (*assembly).ociLayout,
		"rpi3":              (*assembly).rpi3Tar,
		"qcow2":             (*assembly).wrapped,
		"vhd":               (*assembly).wrapped,
		"dynamic-vhd":       (*assembly).wrapped,
		"vmdk":              (*assembly).wrapped,
		"gcp":               (*assembly).wrapped,
	}
}

func (b *assembly) tar(*step.ArtifactParams) {
	for _, d := range stepio.Numbered(b.req, "segment") {
		b.artifact(d)
	}
	b.add(artifact.Extent{Length: tarEnd})
}

func (b *assembly) text(params *step.ArtifactParams) { b.inline([]byte(params.Text)) }

func (b *assembly) file(*step.ArtifactParams) { b.artifact(b.req.Input("file")) }

func (b *assembly) lines(*step.ArtifactParams) {
	for _, d := range stepio.Numbered(b.req, "line") {
		b.blob(d)
	}
}

func (b *assembly) bootTar(params *step.ArtifactParams) {
	b.member("kernel", b.req.Input("kernel"))
	b.member("initrd.img", b.req.Input("initrd"))
	if params.Text != "" {
		b.header("cmdline", int64(len(params.Text)))
		b.inline([]byte(params.Text))
		b.padTar()
	}
	b.member("ucode.cpio", b.req.Input("microcode"))
	b.add(artifact.Extent{Length: tarEnd})
}

// initrd is the microcode as it is (the kernel looks for it uncompressed, before everything else), the parts, and a
// compressed trailer.
func (b *assembly) initrd(params *step.ArtifactParams) {
	if d := b.req.Input("microcode"); !d.IsZero() {
		b.artifact(d)
		b.add(artifact.Extent{Length: (4 - b.out.Size%4) % 4})
	}
	for _, d := range stepio.Numbered(b.req, "part") {
		b.blob(d)
	}
	var trailer bytes.Buffer
	w, err := compress.NewWriter(params.Compress, &trailer)
	if err == nil {
		_, err = w.Write(part.Trailer())
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil && b.err == nil {
		b.err = err
	}
	b.inline(trailer.Bytes())
}
