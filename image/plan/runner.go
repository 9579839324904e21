package plan

import (
	"context"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// maxInput bounds the ConfigBundle and the Lock, in bytes.
const maxInput = 64 << 20

// Runner runs steps of kind plan: inputs "config" (a ConfigBundle) and "lock" (a Lock), output "graph" (a Graph).
type Runner struct{}

// Run implements step.Runner.
func (Runner) Run(ctx context.Context, req *step.Request) (*step.Response, error) {
	params, err := decodeParams(req.Params)
	if err != nil {
		return nil, err
	}
	in := Input{Config: &kilnv1.ConfigBundle{}, Lock: &kilnv1.Lock{}, Parameters: params}
	if err := read(ctx, req, "config", in.Config); err != nil {
		return nil, err
	}
	if err := read(ctx, req, "lock", in.Lock); err != nil {
		return nil, err
	}
	store := &blobStore{blobs: req.Blobs, seen: map[cache.Digest]bool{}}
	graph, err := Plan(ctx, in, store)
	if err != nil {
		return nil, err
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(graph)
	if err != nil {
		return nil, fmt.Errorf("encode the graph: %w", err)
	}
	trees := store.refs
	d, err := store.Blob(ctx, encoded)
	if err != nil {
		return nil, err
	}
	req.Log(fmt.Sprintf("%d steps for %d files", len(graph.GetNodes()), len(graph.GetTargets())))
	return &step.Response{
		Outputs:    []step.Output{{Name: "graph", Digest: d, Size: int64(len(encoded))}},
		References: trees,
	}, nil
}

func read(ctx context.Context, req *step.Request, name string, into proto.Message) error {
	b, err := load(ctx, req.Blobs, req.Input(name), maxInput)
	if err != nil {
		return fmt.Errorf("read the plan's input %q: %w", name, err)
	}
	if err := proto.Unmarshal(b, into); err != nil {
		return step.Failf("the plan's input %q is not what it should be (%w); submit the build again", name, err)
	}
	return nil
}
