// Package steptest runs graphs in tests: one node after the other in this process, by their keys, with no farm. What it
// learns of a graph (which steps ran, their keys) is what tests of planner and runners compare.
//
// It never schedules, retries or records anything.
package steptest

import (
	"context"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Executor runs graphs over one cache and remembers what it ran, so that a key is run once.
type Executor struct {
	Blobs   cache.Blobs
	Runners map[string]step.Runner
	Log     func(line string) // nil: lines are dropped

	done map[cache.Digest]map[string]cache.Digest
	Ran  int // how many steps were not known before
}

// Run is what became of a graph.
type Run struct {
	Keys    []cache.Digest            // of each node
	Outputs []map[string]cache.Digest // of each node, by name
}

// Run runs all nodes in their order.
func (x *Executor) Run(ctx context.Context, graph *kilnv1.Graph) (*Run, error) {
	run := &Run{}
	for _, node := range graph.GetNodes() {
		inputs, err := run.inputs(node)
		if err != nil {
			return nil, fmt.Errorf("step %q: %w", node.GetLabel(), err)
		}
		key := step.Key(node.GetKind(), node.GetVersion(), node.GetParams(), node.GetPlatform(), inputs)
		outputs, err := x.step(ctx, node, key, inputs)
		if err != nil {
			return nil, fmt.Errorf("step %q: %w", node.GetLabel(), err)
		}
		run.Keys, run.Outputs = append(run.Keys, key), append(run.Outputs, outputs)
	}
	return run, nil
}

func (r *Run) inputs(node *kilnv1.Node) ([]step.Input, error) {
	var inputs []step.Input
	for _, in := range node.GetInputs() {
		var digest cache.Digest
		var err error
		if from := in.GetOutput(); from != nil {
			if int(from.GetNode()) >= len(r.Outputs) {
				return nil, fmt.Errorf("input %q is made by a later step", in.GetName())
			}
			digest = r.Outputs[from.GetNode()][from.GetName()]
		} else if digest, err = cache.ParseDigest(in.GetDigest()); err != nil {
			return nil, err
		}
		if digest.IsZero() {
			return nil, fmt.Errorf("input %q is made by nobody", in.GetName())
		}
		inputs = append(inputs, step.Input{Name: in.GetName(), Digest: digest})
	}
	return inputs, nil
}

func (x *Executor) step(ctx context.Context, node *kilnv1.Node, key cache.Digest, inputs []step.Input) (map[string]cache.Digest, error) {
	if outputs, ok := x.done[key]; ok {
		return outputs, nil
	}
	runner, ok := x.Runners[node.GetKind()]
	if !ok {
		return nil, fmt.Errorf("nobody runs steps of kind %q", node.GetKind())
	}
	log := x.Log
	if log == nil {
		log = func(string) {}
	}
	response, err := runner.Run(ctx, &step.Request{
		Kind: node.GetKind(), Version: node.GetVersion(), Params: node.GetParams(), Inputs: inputs, Blobs: x.Blobs, Log: log,
	})
	if err != nil {
		return nil, err
	}
	outputs := map[string]cache.Digest{}
	for _, o := range response.Outputs {
		outputs[o.Name] = o.Digest
	}
	if x.done == nil {
		x.done = map[cache.Digest]map[string]cache.Digest{}
	}
	x.done[key] = outputs
	x.Ran++
	return outputs, nil
}

// Artifact is the description behind a target.
func (x *Executor) Artifact(ctx context.Context, run *Run, target *kilnv1.Target) (*artifact.Artifact, error) {
	from := target.GetFrom()
	digest := run.Outputs[from.GetNode()][from.GetName()]
	f, err := x.Blobs.Open(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("open the description of %s: %w", target.GetFile(), err)
	}
	defer f.Close()
	b := make([]byte, f.Size)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read the description of %s: %w", target.GetFile(), err)
	}
	return artifact.Decode(b)
}
