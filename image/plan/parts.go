package plan

import (
	"fmt"
	"strings"

	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/moby"
)

// part is a run of the root filesystem's entries.
type part struct {
	label    string
	root     step.Root
	trees    []input // "tree", or "tree/0".. for step.RuleAPK
	source   string  // PAX records of the tar; empty: none
	location string
	shared   bool    // in the root directory, where parts may write over each other
	bodies   []input // blobs that a plain tree refers to and no earlier step made
	sources  []*kilnv1.Source
	tarOnly  string // the one format whose tar has this part
}

// resolvLink is where etc/resolv.conf points in the root filesystem: a place that can be written.
const resolvLink = "/run/resolvconf/resolv.conf"

// image lists the parts of the root filesystem, in LinuxKit's order.
func (p *planner) image() (*image, error) {
	img := &image{planner: p}
	for _, section := range []func() ([]part, error){p.kernel, p.init, p.volumeParts, p.containers, p.files, p.dockerfile, p.sbom} {
		parts, err := section()
		if err != nil {
			return nil, err
		}
		img.parts = append(img.parts, parts...)
	}
	if p.filesReachContainers() {
		for i := range img.parts {
			img.parts[i].shared = true
		}
	}
	return img, nil
}

// filesReachContainers says that a file is put among the containers, so that every part may be written over.
func (p *planner) filesReachContainers() bool {
	for _, f := range p.m.Files {
		name, _ := linuxkit.FileName(f.Path)
		if first, _, _ := strings.Cut(linuxkit.CleanName(name), "/"); first == "containers" {
			return true
		}
	}
	return false
}

// imagePart is an image below a prefix.
func (p *planner) imagePart(ref, prefix, resolv, location, label string) (part, error) {
	t, err := p.tree(ref)
	if err != nil {
		return part{}, err
	}
	p.addSBOMs(ref, prefix)
	return part{
		label: label, trees: []input{t}, source: ref, location: location,
		root: step.Root{Rule: step.RuleImage, Prefix: prefix, Resolv: resolv},
	}, nil
}

// plainPart is a tree of generated entries.
func (p *planner) plainPart(entries []tree.Entry, source, location, label string) (part, error) {
	d, err := p.store.Tree(p.ctx, entries)
	if err != nil {
		return part{}, err
	}
	return part{
		label: label, root: step.Root{Rule: step.RulePlain}, trees: []input{blobInput("tree", d)},
		source: source, location: location,
	}, nil
}

func (p *planner) kernel() ([]part, error) {
	ref := p.m.Kernel.Ref()
	if ref == nil {
		return nil, nil
	}
	t, err := p.tree(ref.String())
	if err != nil {
		return nil, err
	}
	p.addSBOMs(ref.String(), "")
	k := kernelNames(p.m.Kernel)
	return []part{{
		label: "kernel " + short(ref.String()), trees: []input{t}, source: ref.String(), location: "kernel", shared: true,
		root: step.Root{
			Rule: step.RuleKernel, Cmdline: p.m.Kernel.Cmdline, Binary: k.binary, Modules: k.modules,
			Microcode: k.microcode, Decompress: p.in.DecompressKernel,
		},
	}}, nil
}

// kernelFiles are the names of the parts of a kernel in its image; empty for what is not wanted.
type kernelFiles struct{ binary, modules, microcode string }

func kernelNames(k moby.KernelConfig) kernelFiles {
	names := kernelFiles{binary: "kernel", modules: "kernel.tar"}
	if k.Binary != "" {
		names.binary = k.Binary
	}
	if k.Tar != nil {
		names.modules = *k.Tar
	}
	if names.modules == "none" {
		names.modules = ""
	}
	if k.UCode != nil {
		names.microcode = *k.UCode
	}
	return names
}

// init images go to the root directory, one over the other, and their package databases are joined.
func (p *planner) init() ([]part, error) {
	var parts []part
	var databases []input
	for i, spec := range p.m.InitRefs() {
		ref := spec.String()
		one, err := p.imagePart(ref, "", resolvLink, fmt.Sprintf("init[%d]", i), "init "+short(ref))
		if err != nil {
			return nil, err
		}
		one.shared = true
		parts = append(parts, one)
		databases = append(databases, one.trees[0].renamed(fmt.Sprintf("tree/%d", i)))
	}
	if len(databases) > 1 {
		parts = append(parts, part{
			label: "init package database", root: step.Root{Rule: step.RuleAPK}, trees: databases,
			source: "LINUXKIT.apkinit", location: "init", shared: true,
		})
	}
	return parts, nil
}
