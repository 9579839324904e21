package stepio

import (
	"context"
	"io"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// MaxBootFile bounds boot loaders and what else is held in memory, in bytes.
const MaxBootFile = 16 << 20

// Content is the input of that name, an artifact description, as runs; nil when it is not given.
func Content(ctx context.Context, req *step.Request, name string) (*extents.List, error) {
	d := req.Input(name)
	if d.IsZero() {
		return nil, nil
	}
	a, err := GetArtifact(ctx, req.Blobs, d)
	if err != nil {
		return nil, err
	}
	return extents.Of(a), nil
}

// Contents are several inputs, all of which are given.
func Contents(ctx context.Context, req *step.Request, names ...string) (map[string]*extents.List, error) {
	out := map[string]*extents.List{}
	for _, name := range names {
		l, err := Content(ctx, req, name)
		if err != nil {
			return nil, err
		}
		if l == nil {
			return nil, step.Failf("a step of kind %s lacks its input %q; coordinators and builders are of different releases", req.Kind, name)
		}
		out[name] = l
	}
	return out, nil
}

// BytesOf reads a small file whole.
func BytesOf(ctx context.Context, req *step.Request, l *extents.List) ([]byte, error) {
	if l.Size() > MaxBootFile {
		return nil, step.Failf("a boot file has %d bytes, more than %d; is it the right one?", l.Size(), MaxBootFile)
	}
	r, err := artifact.Open(ctx, req.Blobs, l.Artifact())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, l.Size())
	if n, err := r.ReadAt(b, 0); err != nil && (err != io.EOF || n < len(b)) {
		return nil, Missing(err, l.Artifact(), req)
	}
	return b, nil
}

// Reader reads a list's bytes; close it.
func Reader(ctx context.Context, req *step.Request, l *extents.List) (*artifact.Reader, error) {
	return artifact.Open(ctx, req.Blobs, l.Artifact())
}

// OutputList stores a list as the output name. It has no digest of its own: it is part of other files.
func OutputList(ctx context.Context, req *step.Request, name string, l *extents.List) (*step.Response, error) {
	out, refs, err := PutArtifact(ctx, req.Blobs, name, l.Artifact())
	return &step.Response{Outputs: []step.Output{out}, References: refs}, err
}

// Text is the input of that name, a small blob, as text; empty when it is not given.
func Text(ctx context.Context, req *step.Request, name string) (string, error) {
	d := req.Input(name)
	if d.IsZero() {
		return "", nil
	}
	b, err := Get(ctx, req.Blobs, d, MaxBootFile)
	return string(b), err
}
