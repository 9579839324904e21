package runners

import (
	"context"

	"github.com/kiln-farm/kiln/image/erofs"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/squashfs"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
)

// filesystem makes one read-only file system of all parts of a root. Files stay where they are.
func filesystem(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.FileSystemParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	parts, err := partsOf(req, &params)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 { // nothing but what boots
		list, err := iso(ctx, req, &params, nil)
		if err != nil {
			return nil, err
		}
		return stepio.OutputList(ctx, req, "image", list)
	}
	root, err := fstree.Build(ctx, req.Blobs, parts, fstree.Options{OmitBoot: !params.KeepBoot})
	if err != nil {
		return nil, err
	}
	var list *extents.List
	switch params.Kind {
	case step.SquashFS:
		var compressed []squashfs.Compressed
		if compressed, err = compressedParts(req, len(parts)); err == nil {
			list, err = squashfs.Assemble(ctx, req.Blobs, root, compressed, squashfs.Options{Compression: squashfs.Compression(params.Compress), Warn: req.Log})
		}
	case step.EROFS:
		list, err = erofs.Assemble(ctx, req.Blobs, root, erofs.Options{Warn: req.Log})
	case step.ISO9660:
		list, err = iso(ctx, req, &params, root)
	default:
		err = step.Failf("unknown file system %q; coordinators and builders are of different releases", params.Kind)
	}
	if err != nil {
		return nil, err
	}
	return stepio.OutputList(ctx, req, "image", list)
}
