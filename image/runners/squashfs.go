package runners

import (
	"context"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/squashfs"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
)

// squashPart compresses the files of one part. It leaves out what is below boot/, which is beside such an image.
func squashPart(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.SquashPartParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	made, err := squashfs.Compress(ctx, req.Blobs, fstree.Part{Root: params.Root, Trees: stepio.Trees(req)}, fstree.Options{OmitBoot: true}, squashfs.Compression(params.Compress))
	if err != nil {
		return nil, err
	}
	return &step.Response{Outputs: []step.Output{
		{Name: "blocks", Digest: made.Blocks, Size: made.BlocksSize}, {Name: "table", Digest: made.Table, Size: made.TableSize},
	}}, nil
}

// compressedParts are the inputs that squashPart made, in their order.
func compressedParts(req *step.Request, n int) ([]squashfs.Compressed, error) {
	parts := make([]squashfs.Compressed, n)
	for i := range parts {
		parts[i] = squashfs.Compressed{Blocks: req.Input(fmt.Sprintf("blocks/%d", i)), Table: req.Input(fmt.Sprintf("table/%d", i))}
		if parts[i].Blocks.IsZero() || parts[i].Table.IsZero() {
			return nil, step.Failf("a squashfs lacks the blocks of part %d; coordinators and builders are of different releases", i)
		}
	}
	return parts, nil
}

// partsOf are the parts that a file system is made of.
func partsOf(req *step.Request, params *step.FileSystemParams) ([]fstree.Part, error) {
	parts := make([]fstree.Part, len(params.Roots))
	for i, root := range params.Roots {
		name := fmt.Sprintf("tree/%d", i)
		parts[i] = fstree.Part{Root: root}
		if i < len(params.Labels) {
			parts[i].Label = params.Labels[i]
		}
		if d := req.Input(name); !d.IsZero() {
			parts[i].Trees = []cache.Digest{d}
		} else if parts[i].Trees = stepio.Numbered(req, name); len(parts[i].Trees) == 0 {
			return nil, step.Failf("a file system lacks the tree of part %d; coordinators and builders are of different releases", i)
		}
	}
	return parts, nil
}
