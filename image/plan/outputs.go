package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kiln-farm/kiln/image/step"
)

// image is a planned root filesystem: from its parts come the nodes that outputs need, and only those.
type image struct {
	*planner
	parts   []part
	omitted []input // for each part, what it leaves out of the initrd; made once
	toSign  []input // digests of unified kernel images
	fault   error   // the first of the formats' own
}

// targets adds the files of the formats to the graph, each once.
func (img *image) targets(names []string) error {
	table := allFormats()
	made := map[string]bool{}
	for _, name := range names {
		i := slices.IndexFunc(table, func(f format) bool { return f.name == name })
		if err := img.checkFormat(&table[i]); err != nil {
			return err
		}
		for _, file := range table[i].files {
			if made[file.suffix] {
				continue
			}
			made[file.suffix] = true
			if from, ok := file.node(img); ok && !img.in.Authenticode {
				img.graph.target(name, file.suffix, from)
			}
		}
	}
	if img.in.Authenticode {
		img.authenticode(names)
	}
	return cmp.Or(img.fault, img.graph.err)
}

func (img *image) tar() (nodeOutput, bool) { return img.tarOf("tar", "root filesystem .tar"), true }
func (img *image) docker() (nodeOutput, bool) {
	return img.tarOf("docker", "root filesystem .docker"), true
}

// tarOf is the concatenation of the parts' segments.
func (img *image) tarOf(format, label string) nodeOutput {
	var segments []input
	for _, p := range img.parts {
		if p.tarOnly != "" && p.tarOnly != format {
			continue
		}
		node := img.graph.add(step.Segment, p.label+" (tar)",
			step.SegmentParams{Root: p.root, Source: p.source, Location: p.location}, append(slices.Clone(p.trees), p.bodies...), p.sources...)
		segments = append(segments, nodeInput(fmt.Sprintf("segment/%d", len(segments)), nodeOutput{node, "segment"}))
	}
	return img.artifact(label, step.ArtifactParams{Format: "tar"}, segments)
}

func (img *image) artifact(label string, params step.ArtifactParams, inputs []input) nodeOutput {
	return nodeOutput{img.graph.add(step.Artifact, label, params, inputs), "artifact"}
}

// kernelNode makes the files that boot loaders want beside the initrd.
func (img *image) kernelNode() (node uint32, names kernelFiles, ok bool) {
	ref := img.m.Kernel.Ref()
	if ref == nil {
		return 0, names, false
	}
	names = kernelNames(img.m.Kernel)
	params := step.KernelParams{Binary: names.binary, Microcode: names.microcode, Decompress: img.in.DecompressKernel}
	kernel := img.parts[0] // the kernel comes first
	return img.graph.add(step.Kernel, "kernel "+short(ref.String())+" (boot files)", params, kernel.trees), names, true
}

func (img *image) kernelFile() (nodeOutput, bool) {
	node, _, ok := img.kernelNode()
	if !ok {
		return nodeOutput{}, false
	}
	return img.artifact("kernel", step.ArtifactParams{Format: "file"}, []input{nodeInput("file", nodeOutput{node, "kernel"})}), true
}

func (img *image) cmdlineFile() (nodeOutput, bool) {
	line := img.m.Kernel.Cmdline
	if img.m.Kernel.Ref() == nil || line == "" {
		return nodeOutput{}, false
	}
	return img.artifact("cmdline", step.ArtifactParams{Format: "text", Text: line}, nil), true
}

// initrdFile is the initrd with the microcode, if there is one, in front.
func (img *image) initrdFile() (nodeOutput, bool) {
	var microcode []input
	if node, names, ok := img.kernelNode(); ok && names.microcode != "" {
		microcode = []input{nodeInput("microcode", nodeOutput{node, "microcode"})}
	}
	return img.initrd(microcode), true
}

func (img *image) initrd(inputs []input) nodeOutput {
	count := 0
	for i, p := range img.parts {
		if p.tarOnly != "" {
			continue
		}
		from := append(slices.Clone(p.trees), p.bodies...)
		if p.shared {
			from = append(from, img.omit(i))
		}
		node := img.graph.add(step.InitrdPart, p.label+" (initrd)",
			step.InitrdPartParams{Root: inInitrd(p.root), Compress: img.in.Compress}, from, p.sources...)
		inputs = append(inputs, nodeInput(fmt.Sprintf("part/%d", count), nodeOutput{node, "part"}))
		count++
	}
	return img.artifact("initrd.img", step.ArtifactParams{Format: "initrd", Compress: img.in.Compress}, inputs)
}

// inInitrd is what of a root matters there: the kernel and what belongs to it are not in the initrd, so that another
// command line leaves the parts as they are.
func inInitrd(root step.Root) step.Root {
	root.Cmdline, root.Microcode, root.Decompress = "", "", false
	return root
}

// omit is the list of names that part i, one of those in the root directory, leaves out.
func (img *image) omit(i int) input {
	if img.omitted == nil {
		img.overlap()
	}
	return img.omitted[i]
}

func (img *image) overlap() {
	img.omitted = make([]input, len(img.parts))
	var params step.OverlapParams
	var inputs []input
	var at []int
	for i, p := range img.parts {
		if !p.shared || p.tarOnly != "" {
			continue
		}
		number := len(at)
		at = append(at, i)
		params.Roots, params.Labels = append(params.Roots, inInitrd(p.root)), append(params.Labels, p.label)
		for j, t := range p.trees {
			name := fmt.Sprintf("tree/%d", number)
			if p.root.Rule == step.RuleAPK {
				name += fmt.Sprintf("/%d", j)
			}
			inputs = append(inputs, t.renamed(name))
		}
	}
	node := img.graph.add(step.Overlap, "root directory overlaps", params, inputs)
	for number, i := range at {
		img.omitted[i] = nodeInput("omit", nodeOutput{node, fmt.Sprintf("omit/%d", number)})
	}
}

// bootTar holds kernel, initrd, command line and microcode apart.
func (img *image) bootTar() (nodeOutput, bool) {
	params := step.ArtifactParams{Format: "tar-kernel-initrd"}
	inputs := []input{nodeInput("initrd", img.initrd(nil))}
	if node, names, ok := img.kernelNode(); ok {
		params.Text = img.m.Kernel.Cmdline
		inputs = append(inputs, nodeInput("kernel", nodeOutput{node, "kernel"}))
		if names.microcode != "" {
			inputs = append(inputs, nodeInput("microcode", nodeOutput{node, "microcode"}))
		}
	}
	return img.artifact("initrd.tar", params, inputs), true
}
