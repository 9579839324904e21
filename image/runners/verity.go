package runners

import (
	"context"

	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
	"github.com/kiln-farm/kiln/image/verity"
)

// hashTree makes the dm-verity tree of a file system, and tells its root hash.
func hashTree(ctx context.Context, req *step.Request) (*step.Response, error) {
	image, err := stepio.GetArtifact(ctx, req.Blobs, req.Input("image"))
	if err != nil {
		return nil, err
	}
	made, err := verity.Build(ctx, req.Blobs, image, verity.Options{Superblock: true})
	if err != nil {
		return nil, stepio.Missing(err, image, req)
	}
	out, err := stepio.OutputList(ctx, req, "hash", made.Hashes)
	if err != nil {
		return nil, err
	}
	hash, err := stepio.Put(ctx, req.Blobs, "roothash", []byte(made.RootHash()))
	out.Outputs = append(out.Outputs, hash)
	return out, err
}
