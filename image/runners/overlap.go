package runners

import (
	"context"
	"fmt"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
)

// overlap: the trees of part i are "tree/i", or for the package databases "tree/i/0", "tree/i/1", ...
func overlap(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.OverlapParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	of := make([][]cache.Digest, len(params.Roots))
	for i := range of {
		name := fmt.Sprintf("tree/%d", i)
		if d := req.Input(name); !d.IsZero() {
			of[i] = []cache.Digest{d}
		} else {
			of[i] = stepio.Numbered(req, name)
		}
	}
	lists, err := part.Overlap(ctx, req.Blobs, params, of)
	if err != nil {
		return nil, err
	}
	out := &step.Response{}
	for i, list := range lists {
		o, err := stepio.Put(ctx, req.Blobs, fmt.Sprintf("omit/%d", i), []byte(strings.Join(list, "\n")))
		if err != nil {
			return nil, err
		}
		out.Outputs = append(out.Outputs, o)
	}
	return out, nil
}
