package runners

import (
	"context"

	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
	"github.com/kiln-farm/kiln/image/tree"
)

func kernel(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.KernelParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	image, microcode, err := part.Kernel(ctx, req.Blobs, params, req.Input("tree"))
	if err != nil {
		return nil, err
	}
	out := &step.Response{}
	add := func(name string, body tree.Body) error {
		a := stepio.OfBody(body)
		if err := stepio.Sum(ctx, req.Blobs, a); err != nil {
			return err
		}
		o, refs, err := stepio.PutArtifact(ctx, req.Blobs, name, a)
		out.Outputs, out.References = append(out.Outputs, o), append(out.References, refs...)
		return err
	}
	if err := add("kernel", image); err != nil {
		return nil, err
	}
	if params.Microcode != "" {
		err = add("microcode", microcode)
	}
	return out, err
}
