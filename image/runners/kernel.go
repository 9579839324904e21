package runners

import (
	"context"
	"crypto/sha256"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

func kernel(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.KernelParams
	if err := decode(req, &params); err != nil {
		return nil, err
	}
	image, microcode, err := part.Kernel(ctx, req.Blobs, params, req.Input("tree"))
	if err != nil {
		return nil, err
	}
	out := &step.Response{}
	add := func(name string, body tree.Body) error {
		a := ofBody(body)
		if err := sum(ctx, req.Blobs, a); err != nil {
			return err
		}
		o, refs, err := putArtifact(ctx, req.Blobs, name, a)
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

// ofBody is a body as an artifact.
func ofBody(b tree.Body) *artifact.Artifact {
	a := &artifact.Artifact{Size: b.Size}
	if b.Size > 0 {
		a.Extents = []artifact.Extent{{Length: b.Size, Blob: b.Blob, Offset: b.Offset, Inline: b.Inline}}
	}
	return a
}

// sum reads the artifact once and sets its digest.
func sum(ctx context.Context, blobs cache.Blobs, a *artifact.Artifact) error {
	r, err := artifact.Open(ctx, blobs, a)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := r.WriteTo(h); err != nil {
		return err
	}
	a.Digest = cache.FromSum([sha256.Size]byte(h.Sum(nil)))
	return nil
}
