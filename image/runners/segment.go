package runners

import (
	"context"

	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
)

func segment(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.SegmentParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	a, err := part.Segment(ctx, req.Blobs, params, stepio.Trees(req))
	if err != nil {
		return nil, err
	}
	out, refs, err := stepio.PutArtifact(ctx, req.Blobs, "segment", a)
	return &step.Response{Outputs: []step.Output{out}, References: refs}, err
}
