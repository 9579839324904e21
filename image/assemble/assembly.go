package assemble

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
)

const (
	tarBlock = 512
	tarEnd   = 2 * tarBlock // POSIX.1-2017 pax: two blocks of zeros end an archive
)

// Run puts an output file together out of what other steps made, by extents.
func Run(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.ArtifactParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	b := &assembly{ctx: ctx, req: req}
	put, known := formats()[params.Format]
	if !known {
		return nil, fmt.Errorf("unknown format %q of an artifact", params.Format)
	}
	put(b, &params)
	if b.err != nil {
		return nil, b.err
	}
	if err := stepio.Sum(ctx, req.Blobs, &b.out); err != nil {
		return nil, stepio.Missing(err, &b.out, req)
	}
	out, refs, err := stepio.PutArtifact(ctx, req.Blobs, "artifact", &b.out)
	return &step.Response{Outputs: []step.Output{out}, References: refs}, err
}

// assembly gathers extents; the first error sticks.
type assembly struct {
	ctx context.Context
	req *step.Request
	out artifact.Artifact
	err error
}

func (b *assembly) add(extents ...artifact.Extent) {
	for _, e := range extents {
		if e.Length == 0 {
			continue
		}
		b.out.Extents = append(b.out.Extents, e)
		b.out.Size += e.Length
	}
}

func (b *assembly) inline(p []byte) { b.add(artifact.Extent{Length: int64(len(p)), Inline: p}) }

// artifact adds the extents of the artifact described by the blob d.
func (b *assembly) artifact(d cache.Digest) *artifact.Artifact {
	if b.err != nil {
		return nil
	}
	a, err := stepio.GetArtifact(b.ctx, b.req.Blobs, d)
	if err != nil {
		b.err = err
		return nil
	}
	b.add(a.Extents...)
	return a
}

// blob adds a whole blob.
func (b *assembly) blob(d cache.Digest) {
	if b.err != nil {
		return
	}
	f, err := part.Open(b.ctx, b.req.Blobs, d)
	if err != nil {
		b.err = err
		return
	}
	defer f.Close()
	b.add(artifact.Extent{Blob: d, Length: f.Size})
}

// member adds a tar member, when there is one and it is not empty.
func (b *assembly) member(name string, d cache.Digest) {
	if d.IsZero() || b.err != nil {
		return
	}
	a, err := stepio.GetArtifact(b.ctx, b.req.Blobs, d)
	if err != nil {
		b.err = err
		return
	}
	if a.Size == 0 {
		return
	}
	b.header(name, a.Size)
	b.add(a.Extents...)
	b.padTar()
}

func (b *assembly) header(name string, size int64) {
	var head bytes.Buffer
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: part.DefaultTime, Format: tar.FormatPAX}
	if err := tar.NewWriter(&head).WriteHeader(h); err != nil && b.err == nil {
		b.err = err
	}
	b.inline(head.Bytes())
}

func (b *assembly) padTar() {
	b.add(artifact.Extent{Length: (tarBlock - b.out.Size%tarBlock) % tarBlock})
}
