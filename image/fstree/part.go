package fstree

import (
	"archive/tar"
	"context"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// Part is one part of a root filesystem.
type Part struct {
	Root  step.Root
	Trees []cache.Digest // as for part.Walk
	Label string         // names the part in messages
}

func (p Part) label() string {
	if p.Label == "" {
		return "a part of the image"
	}
	return p.Label
}

// Options say what of the parts is in the tree.
type Options struct {
	// OmitBoot leaves out everything below boot/, but not the directory itself, as LinuxKit does where the kernel is a
	// file beside the image.
	OmitBoot bool
}

const boot = "boot/"

// Each calls f for the entries of a part that are in the tree, with their numbers in part.Walk's order. Their names and
// the targets of hard links are relative and clean.
func Each(ctx context.Context, blobs cache.Blobs, p Part, options Options, f func(number int, e *tree.Entry) error) error {
	root, number := p.Root, -1
	if options.OmitBoot {
		root.Decompress = false // for the kernel is left out
	}
	return part.Walk(ctx, blobs, root, p.Trees, func(e *tree.Entry) error {
		number++
		if e.Type == tar.TypeXGlobalHeader {
			return nil
		}
		e.Name = path.Clean(strings.TrimLeft(e.Name, "/"))
		if options.OmitBoot && strings.HasPrefix(e.Name, boot) {
			return nil
		}
		if e.Type == tar.TypeLink {
			e.Linkname = path.Clean(strings.TrimLeft(e.Linkname, "/"))
		}
		return f(number, e)
	})
}
