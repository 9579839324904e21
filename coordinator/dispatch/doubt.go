package dispatch

import (
	"context"
	"fmt"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// doubted turns a completion that says that an input is gone into one of the builder's own fault, when the blob is
// there and good: another builder may be luckier.
func (l *Duty) doubted(ctx context.Context, req *kilnv1.CompleteRequest) (*kilnv1.CompleteRequest, error) {
	if req.GetCompletion() != kilnv1.Completion_COMPLETION_INPUT_MISSING {
		return req, nil
	}
	gone, err := l.Second.Gone(ctx, req.GetMissing())
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err() // the builder says it again
	case err == nil && gone:
		return req, nil
	}
	infra := proto.CloneOf(req)
	infra.Completion, infra.Missing = kilnv1.Completion_COMPLETION_INFRA, ""
	infra.Error = fmt.Sprintf("builder %s could not read the blob %s, which is there", req.GetBuilder(), req.GetMissing())
	if err != nil {
		infra.Error = fmt.Sprintf("builder %s could not read the blob %s, and the leader cannot look for it: %v", req.GetBuilder(), req.GetMissing(), err)
	}
	return infra, nil
}
