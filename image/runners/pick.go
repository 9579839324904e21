package runners

import (
	"archive/tar"
	"context"
	"strings"

	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
	"github.com/kiln-farm/kiln/image/tree"
)

// pick finds files of an image.
func pick(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.PickParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	found := map[string]tree.Body{}
	wanted := map[string]bool{}
	for _, f := range params.Files {
		for _, p := range f.Paths {
			wanted[p] = true
		}
	}
	err := part.Each(ctx, req.Blobs, req.Input("tree"), func(e *tree.Entry) error {
		name := strings.TrimPrefix(strings.TrimPrefix(e.Name, "./"), "/")
		if !wanted[name] {
			return nil
		}
		if e.Type != tar.TypeReg {
			return step.Failf("%s in the image %s is no plain file; put a copy there, not a link", name, params.Image)
		}
		found[name] = e.Body
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &step.Response{}
	for _, f := range params.Files {
		body, ok := tree.Body{}, false
		for _, p := range f.Paths {
			if body, ok = found[p]; ok {
				break
			}
		}
		if !ok {
			return nil, step.Failf("the image %s has no %s: it should be at %s; name an image that has it with --boot", params.Image, f.What, strings.Join(f.Paths, " or "))
		}
		o, refs, err := stepio.PutArtifact(ctx, req.Blobs, f.Output, stepio.OfBody(body))
		if err != nil {
			return nil, err
		}
		out.Outputs, out.References = append(out.Outputs, o), append(out.References, refs...)
	}
	return out, nil
}
