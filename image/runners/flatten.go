package runners

import (
	"bytes"
	"context"
	"io"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/flat"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// flatten makes a tree of layers. The index names the blob with the bodies, whose digest is known at its end, so the
// entries wait in an index in memory: about as many bytes as their names.
func flatten(ctx context.Context, req *step.Request) (*step.Response, error) {
	data, err := req.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer data.Abort()
	var waiting bytes.Buffer
	w := tree.NewWriter(&waiting)
	if err := flat.Flatten(ctx, req.Blobs, numbered(req, "layer"), data, w.Append); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
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
	if err := settle(tree.NewWriter(index), &waiting, bodies); err != nil {
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

// settle copies an index whose bodies are all in one blob, and names that blob.
func settle(w *tree.Writer, waiting io.Reader, bodies cache.Digest) error {
	r, err := tree.NewReader(waiting)
	if err != nil {
		return err
	}
	for {
		e, err := r.Next()
		if err == io.EOF {
			return w.Close()
		}
		if err != nil {
			return err
		}
		if e.Body.Size > 0 {
			e.Body.Blob = bodies
		}
		if err := w.Append(e); err != nil {
			return err
		}
	}
}
