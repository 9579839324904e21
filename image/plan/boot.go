package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// checkFormat says why this build cannot have a format.
func (img *image) checkFormat(f *format) error {
	if err := CheckArch(f.name, img.arch()); err != nil {
		return &step.Failure{Err: err}
	}
	if f.boot && img.m.Kernel.Ref() == nil {
		return step.Failf("format %s needs a kernel to boot, and the YAML names none; add a kernel section with an image", f.name)
	}
	return img.in.checkBoot(f)
}

// checkBoot says that the image with boot loaders is not named.
func (p *Parameters) checkBoot(f *format) error {
	if f.boot && p.Boot == "" {
		return step.Failf("format %s is made with boot loaders out of an image; name it with --boot IMAGE, or in the YAML with \"kiln: {boot: IMAGE}\" (docs/formats.md says how to make one)", f.name)
	}
	if f.name == "raw-efi-verity" && p.Initrd == "" {
		return step.Failf("format %s boots with an initrd that opens the verified root; name its image with --initrd IMAGE, or in the YAML with \"kiln: {initrd: IMAGE}\" (docs/formats.md says how to make one)", f.name)
	}
	return nil
}

// CheckBoot says before a build that images which its formats are made with are not named.
func CheckBoot(bundle *kilnv1.ConfigBundle, spec *kilnv1.BuildSpec) error {
	p := parametersOf(spec)
	if err := p.settle(bundle); err != nil {
		return err
	}
	for _, f := range allFormats() {
		if slices.Contains(p.Formats, f.name) {
			if err := p.checkBoot(&f); err != nil {
				return err
			}
		}
	}
	return nil
}

// arch is the platform's architecture.
func (p *planner) arch() string {
	_, arch, _ := strings.Cut(p.platform, "/")
	arch, _, _ = strings.Cut(arch, "/")
	return arch
}

// fail keeps the first fault of a format.
func (img *image) fail(err error) {
	if img.fault == nil {
		img.fault = err
	}
}

// efiNames are what UEFI and systemd call the architectures.
var efiNames = map[string]string{"amd64": "x64", "arm64": "aa64"}

// bootFile is a file of the image of boot loaders: at one of the places where distributions have it.
func (img *image) bootFile(output, what string, paths ...string) input {
	tree, err := img.tree(img.in.Boot)
	if err != nil {
		img.fail(err)
		return input{}
	}
	node := img.graph.add(step.Pick, output+" of "+short(img.in.Boot), step.PickParams{
		Image: img.in.Boot, Files: []step.PickFile{{Output: output, What: what, Paths: paths}},
	}, []input{tree})
	return nodeInput(output, nodeOutput{node, output})
}

func (img *image) stub() input {
	name := "linux" + efiNames[img.arch()] + ".efi.stub"
	return img.bootFile("stub", "systemd's UEFI stub for "+img.arch(), "usr/lib/systemd/boot/efi/"+name, "systemd/"+name).renamed("stub")
}

// syslinuxFile is a file of SYSLINUX, where Debian, Alpine and Fedora have it.
func (img *image) syslinuxFile(name, debian string) input {
	return img.bootFile(name, name+" of SYSLINUX", debian, "usr/share/syslinux/"+name, "syslinux/"+name)
}

// fromKernel is the kernel as a boot loader loads it.
func (img *image) fromKernel() input {
	node, _, ok := img.kernelNode()
	if !ok {
		return input{} // checkFormat has refused
	}
	return nodeInput("kernel", nodeOutput{node, "kernel"})
}

// uki is a unified kernel image (UAPI group, Unified Kernel Image).
func (img *image) uki(label, cmdline string, more ...input) input {
	params := step.UKIParams{Cmdline: cmdline, OSRelease: osRelease, Arch: img.arch(), Label: label + " " + img.arch()}
	inputs := append([]input{img.stub(), img.fromKernel()}, more...)
	for i, text := range img.in.Signatures {
		d := mustDigest(text) // check has parsed it
		inputs = append(inputs, blobInput(fmt.Sprintf("signature/%d", i), d))
	}
	node := img.graph.add(step.UKI, label, params, inputs)
	img.toSign = append(img.toSign, nodeInput(fmt.Sprintf("line/%d", len(img.toSign)), nodeOutput{node, "authenticode"}))
	return nodeInput("uki", nodeOutput{node, "uki"})
}

// osRelease is what a boot loader's menu shows of an image (os-release(5)).
const osRelease = "ID=kiln\nNAME=\"LinuxKit image built by Kiln\"\nPRETTY_NAME=\"LinuxKit image\"\n"

// memoryUKI boots to the initrd, as kernel+initrd does.
func (img *image) memoryUKI() input {
	initrd, _ := img.initrdFile()
	return img.uki("unified kernel image", img.m.Kernel.Cmdline, nodeInput("initrd", initrd))
}

func (img *image) ukiFile() (nodeOutput, bool) {
	return img.artifact("unified kernel image (file)", step.ArtifactParams{Format: "file"}, []input{img.memoryUKI().renamed("file")}), true
}

// authenticode makes one file of all digests that are to be signed.
func (img *image) authenticode(formats []string) {
	if len(img.toSign) == 0 {
		img.fail(step.Failf("there is nothing to sign in %s; ask for a format that boots with UEFI, such as uki or raw-efi", strings.Join(formats, ", ")))
		return
	}
	from := img.artifact("digests to sign", step.ArtifactParams{Format: "lines"}, img.toSign)
	img.graph.target("authenticode", authenticodeFile, from)
}

// rootInitrd is the initrd of formats that keep the root filesystem on the disk; false when the build names none.
func (img *image) rootInitrd() (input, bool) {
	if img.in.Initrd == "" {
		return input{}, false
	}
	tree, err := img.tree(img.in.Initrd)
	if err != nil {
		img.fail(err)
		return input{}, false
	}
	part := img.graph.add(step.InitrdPart, "initrd of "+short(img.in.Initrd),
		step.InitrdPartParams{Root: step.Root{Rule: step.RulePlain}, Compress: img.in.Compress}, []input{tree})
	from := img.artifact("initrd of "+short(img.in.Initrd)+" (file)", step.ArtifactParams{Format: "initrd", Compress: img.in.Compress},
		[]input{nodeInput("part/0", nodeOutput{part, "part"})})
	return nodeInput("initrd", from), true
}

// ipxeScript boots kernel and initrd from beside itself.
func (img *image) ipxeScript() (nodeOutput, bool) {
	if img.m.Kernel.Ref() == nil {
		img.fail(step.Failf("format ipxe needs a kernel to boot, and the YAML names none; add a kernel section with an image"))
		return nodeOutput{}, false
	}
	line := img.m.Kernel.Cmdline
	if strings.ContainsAny(line, "\n\r\x00") {
		img.fail(step.Failf("the kernel's command line has more than one line, which no boot script can pass on; write it in one"))
		return nodeOutput{}, false
	}
	return img.artifact("boot script", step.ArtifactParams{Format: "ipxe", Text: line, Name: img.in.Name}, nil), true
}
