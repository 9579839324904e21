package erofs

import (
	"context"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
)

// Options of an image.
type Options struct {
	Warn func(line string) // takes what is left out of the image; nil drops it
}

// Assemble makes an image of the tree. Its metadata is a new blob; the blocks of files are extents of the blobs that their
// bodies are in.
func Assemble(ctx context.Context, blobs cache.Blobs, root *fstree.Node, options Options) (*extents.List, error) {
	warned := map[string]bool{}
	p, err := newPlan(root, func(xattr string) {
		if !warned[xattr] && options.Warn != nil {
			warned[xattr] = true
			options.Warn("warning: erofs cannot hold the extended attribute " + xattr + "; it is left out")
		}
	})
	if err != nil {
		return nil, err
	}
	metadata, err := writeMetadata(ctx, blobs, p)
	if err != nil {
		return nil, fmt.Errorf("write the metadata of an erofs image: %w", err)
	}
	data := p.data()
	s := super{root: p.number(root), inodes: uint64(len(p.inodes)), blocks: uint32(p.blocks), uuid: identify(metadata, data)}
	out := extents.Bytes(s.encode())
	out.Append(metadata)
	out.Append(data)
	if want := int64(p.blocks) * blockSize; out.Size() != want {
		return nil, fmt.Errorf("an erofs image of %d bytes was planned, but has %d", want, out.Size())
	}
	return out, nil
}

// data are the blocks of files.
func (p *plan) data() *extents.List {
	data := &extents.List{}
	for n := range p.inodes {
		i := &p.inodes[n]
		at := int64(p.metadata)*blockSize + data.Size()
		if !i.regular() || i.blocks() == 0 || int64(i.block)*blockSize != at {
			continue // nothing, or another file's
		}
		if b := i.node.Body; b.Inline != nil {
			data.Bytes(b.Inline[:i.inBlocks()])
		} else {
			data.Add(artifact.Extent{Blob: b.Blob, Offset: b.Offset, Length: i.inBlocks()})
		}
		data.Align(blockSize)
	}
	return data
}
