package runners

import (
	"context"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/flat"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// flatten makes a tree of layers. The index names the blob with the bodies, so the entries wait in a scratch index until
// that blob's digest is known.
func flatten(ctx context.Context, req *step.Request) (*step.Response, error) {
	data, err := req.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer data.Abort()
	var entries []*tree.Entry
	err = flat.Flatten(ctx, req.Blobs, numbered(req, "layer"), data, func(e *tree.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	bodies, size, err := data.Commit()
	if err != nil {
		return nil, err
	}
	index, err := req.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer index.Abort()
	w := tree.NewWriter(index)
	for _, e := range entries {
		if e.Body.Size > 0 {
			e.Body.Blob = bodies
		}
		if err := w.Append(e); err != nil {
			return nil, err
		}
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
