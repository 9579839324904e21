package runners

import (
	"context"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/flat"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
	"github.com/kiln-farm/kiln/image/tree"
)

// flatten makes a tree of layers.
func flatten(ctx context.Context, req *step.Request) (*step.Response, error) {
	index, err := req.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer index.Abort()
	w := tree.NewWriter(index)
	bodies, size, err := flat.Flatten(ctx, req.Blobs, stepio.Numbered(req, "layer"), flat.LimitsOf(req.Unpack), w.Append)
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	d, n, err := index.Commit()
	if err != nil {
		return nil, err
	}
	out := &step.Response{Outputs: []step.Output{{Name: "tree", Digest: d, Size: n}}}
	if size > 0 {
		out.References = []cache.Digest{bodies}
	}
	return out, nil
}
