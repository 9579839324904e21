package stepio

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/gpt"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// Decode reads the parameters of a step.
func Decode(req *step.Request, params any) error {
	if err := json.Unmarshal(req.Params, params); err != nil {
		return fmt.Errorf("parameters of a step of kind %s: %w", req.Kind, err)
	}
	return nil
}

// Numbered are the inputs PREFIX/0, PREFIX/1, ... up to the first that is not there.
func Numbered(req *step.Request, prefix string) []cache.Digest {
	var out []cache.Digest
	for i := 0; ; i++ {
		d := req.Input(fmt.Sprintf("%s/%d", prefix, i))
		if d.IsZero() {
			return out
		}
		out = append(out, d)
	}
}

// Trees are the inputs of a step with a Root: one "tree", or several by number.
func Trees(req *step.Request) []cache.Digest {
	if d := req.Input("tree"); !d.IsZero() {
		return []cache.Digest{d}
	}
	return Numbered(req, "tree")
}

// Put stores b as a blob.
func Put(ctx context.Context, blobs cache.Blobs, name string, b []byte) (step.Output, error) {
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

// PutArtifact stores an artifact's description as the output name; references are the blobs it is made of.
func PutArtifact(ctx context.Context, blobs cache.Blobs, name string, a *artifact.Artifact) (step.Output, []cache.Digest, error) {
	encoded, err := artifact.Encode(a)
	if err != nil {
		return step.Output{}, nil, err
	}
	out, err := Put(ctx, blobs, name, encoded)
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

// GetArtifact reads an artifact description.
func GetArtifact(ctx context.Context, blobs cache.Blobs, d cache.Digest) (*artifact.Artifact, error) {
	b, err := Get(ctx, blobs, d, maxDescription)
	if err != nil {
		return nil, err
	}
	a, err := artifact.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("artifact %s: %w", d, err)
	}
	return a, nil
}

// Get reads a small blob whole.
func Get(ctx context.Context, blobs cache.Blobs, d cache.Digest, limit int64) ([]byte, error) {
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

// OfBody is a body as an artifact.
func OfBody(b tree.Body) *artifact.Artifact {
	a := &artifact.Artifact{Size: b.Size}
	if b.Size > 0 {
		a.Extents = []artifact.Extent{{Length: b.Size, Blob: b.Blob, Offset: b.Offset, Inline: b.Inline}}
	}
	return a
}

// Sum reads the artifact once and sets its digest.
func Sum(ctx context.Context, blobs cache.Blobs, a *artifact.Artifact) error {
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

// Missing names the blob that is not in the cache, when that is what the error is about.
func Missing(err error, a *artifact.Artifact, req *step.Request) error {
	var absent *cache.AbsentError
	if errors.As(err, &absent) {
		return &step.MissingBlob{Digest: absent.Digest}
	}
	var failure *step.Failure
	if errors.As(err, &failure) {
		return err
	}
	gone, listErr := req.Blobs.MissingBlobs(context.Background(), references(a))
	if listErr == nil && len(gone) > 0 {
		return &step.MissingBlob{Digest: gone[0]}
	}
	return err
}

// Identity is an id that comes from what a file is made of.
func Identity(label string, req *step.Request) [16]byte {
	var parts [][]byte
	for _, in := range req.Inputs {
		sum := in.Digest.Sum()
		parts = append(parts, []byte(in.Name), sum[:])
	}
	return gpt.UUID(label, append(parts, req.Params)...)
}
