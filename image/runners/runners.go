package runners

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
)

// All returns the runner of each pure kind but plan.
func All() map[string]step.Runner {
	return map[string]step.Runner{
		step.Flatten:    runnerFunc(flatten),
		step.Segment:    runnerFunc(segment),
		step.InitrdPart: runnerFunc(initrdPart),
		step.Overlap:    runnerFunc(overlap),
		step.Kernel:     runnerFunc(kernel),
		step.Artifact:   runnerFunc(assemble),
		step.SBOM:       runnerFunc(sbom),
		step.Pick:       runnerFunc(pick),
		step.UKI:        runnerFunc(unified),
		step.Disk:       runnerFunc(partitions),
		step.SquashPart: runnerFunc(squashPart),
		step.FileSystem: runnerFunc(filesystem),
		step.Verity:     runnerFunc(hashTree),
	}
}

type runnerFunc func(context.Context, *step.Request) (*step.Response, error)

func (f runnerFunc) Run(ctx context.Context, req *step.Request) (*step.Response, error) {
	return f(ctx, req)
}

func decode(req *step.Request, params any) error {
	if err := json.Unmarshal(req.Params, params); err != nil {
		return fmt.Errorf("parameters of a step of kind %s: %w", req.Kind, err)
	}
	return nil
}

// numbered are the inputs PREFIX/0, PREFIX/1, ... up to the first that is not there.
func numbered(req *step.Request, prefix string) []cache.Digest {
	var out []cache.Digest
	for i := 0; ; i++ {
		d := req.Input(fmt.Sprintf("%s/%d", prefix, i))
		if d.IsZero() {
			return out
		}
		out = append(out, d)
	}
}

// trees are the inputs of a step with a Root: one "tree", or several by number.
func trees(req *step.Request) []cache.Digest {
	if d := req.Input("tree"); !d.IsZero() {
		return []cache.Digest{d}
	}
	return numbered(req, "tree")
}

// put stores b as a blob.
func put(ctx context.Context, blobs cache.Blobs, name string, b []byte) (step.Output, error) {
	draft, err := blobs.Create(ctx)
	if err != nil {
		return step.Output{}, err
	}
	defer draft.Abort()
	if _, err := draft.Write(b); err != nil {
		return step.Output{}, err
	}
	d, size, err := draft.Commit()
	return step.Output{Name: name, Digest: d, Size: size}, err
}

// putArtifact stores an artifact's description as the output name; references are the blobs it is made of.
func putArtifact(ctx context.Context, blobs cache.Blobs, name string, a *artifact.Artifact) (step.Output, []cache.Digest, error) {
	encoded, err := artifact.Encode(a)
	if err != nil {
		return step.Output{}, nil, err
	}
	out, err := put(ctx, blobs, name, encoded)
	return out, references(a), err
}

func references(a *artifact.Artifact) []cache.Digest {
	seen := map[cache.Digest]bool{}
	var out []cache.Digest
	for _, e := range a.Extents {
		if !e.Blob.IsZero() && !seen[e.Blob] {
			seen[e.Blob] = true
			out = append(out, e.Blob)
		}
	}
	return out
}

// maxDescription bounds an artifact description: 2 million extents and more.
const maxDescription = 64 << 20

// getArtifact reads an artifact description.
func getArtifact(ctx context.Context, blobs cache.Blobs, d cache.Digest) (*artifact.Artifact, error) {
	b, err := get(ctx, blobs, d, maxDescription)
	if err != nil {
		return nil, err
	}
	a, err := artifact.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("artifact %s: %w", d, err)
	}
	return a, nil
}

// get reads a small blob whole.
func get(ctx context.Context, blobs cache.Blobs, d cache.Digest, limit int64) ([]byte, error) {
	f, err := part.Open(ctx, blobs, d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size > limit {
		return nil, fmt.Errorf("blob %s has %d bytes, more than the %d allowed here", d, f.Size, limit)
	}
	b := make([]byte, f.Size)
	_, err = io.ReadFull(f, b)
	return b, err
}
