package runners

import (
	"bufio"
	"context"
	"encoding/binary"
	"strings"

	"github.com/kiln-farm/kiln/image/compress"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
)

// maxOmit bounds the list of names that a part leaves out.
const maxOmit = 16 << 20

func initrdPart(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.InitrdPartParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	omit := map[string]bool{}
	if d := req.Input("omit"); !d.IsZero() {
		list, err := stepio.Get(ctx, req.Blobs, d, maxOmit)
		if err != nil {
			return nil, err
		}
		for name := range strings.SplitSeq(string(list), "\n") {
			omit[name] = true
		}
	}
	draft, err := req.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer draft.Abort()
	z, err := compress.NewWriter(params.Compress, draft)
	if err != nil {
		return nil, &step.Failure{Err: err}
	}
	w := bufio.NewWriterSize(z, 64<<10)
	err = part.Archive(ctx, req.Blobs, params.Root, stepio.Trees(req), omit, seed(req), w, req.Log)
	if err == nil {
		err = w.Flush()
	}
	if closeErr := z.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	d, size, err := draft.Commit()
	return &step.Response{Outputs: []step.Output{{Name: "part", Digest: d, Size: size}}}, err
}

// seed is different for parts that are different: it comes from what they are made of.
func seed(req *step.Request) uint64 {
	sum := step.Key(req.Kind, 0, req.Params, "", req.Inputs).Sum()
	return binary.BigEndian.Uint64(sum[:])
}
