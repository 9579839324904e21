package runners

import (
	"context"

	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
)

func segment(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.SegmentParams
	if err := decode(req, &params); err != nil {
		return nil, err
	}
	a, err := part.Segment(ctx, req.Blobs, params, trees(req))
	if err != nil {
		return nil, err
	}
	out, refs, err := putArtifact(ctx, req.Blobs, "segment", a)
	return &step.Response{Outputs: []step.Output{out}, References: refs}, err
}
