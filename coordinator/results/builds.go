package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/coordinator/feed"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// attachGraph loads a build's graph, checks it, looks all of it up, and puts it into the state.
func (l *Duty) attachGraph(ctx context.Context, id string) error {
	ctx, span := l.Spans.Start(ctx, id, "attach graph")
	defer span.End()
	var graph string
	first := 0
	l.View(func(m *state.Machine) {
		if b := m.Build(id); b != nil && !b.Ended() && !b.Attached() {
			graph = state.OutputOf(b.Nodes[state.PlanNode].Result, "graph").GetDigest()
			first = len(b.Nodes) - state.GraphNode
			if graph == "" {
				graph = "none"
			}
		}
	})
	switch graph {
	case "":
		return nil // ended meanwhile
	case "none":
		return errors.New("the plan step gave no graph: coordinators and builders are of different releases")
	}
	data, err := readBlob(ctx, l.Blobs, graph, maxGraphBytes)
	if errors.Is(err, cache.ErrNotFound) {
		return l.lost(ctx, id, graph)
	}
	if err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	g := &kilnv1.Graph{}
	if err := proto.Unmarshal(data, g); err != nil {
		return fmt.Errorf("the plan %s cannot be read: %w", graph, err)
	}
	if err := checkGraph(g); err != nil {
		return err
	}
	nodes, err := l.found.attachable(ctx, g)
	if err != nil {
		return fmt.Errorf("look up the plan's steps: %w", err)
	}
	known := &kilnv1.GraphKnown{}
	for _, n := range g.GetNodes() {
		known.Labels = append(known.Labels, n.GetLabel())
		known.Kinds = append(known.Kinds, n.GetKind())
	}
	l.Feeds.Start(id).Add(feed.GraphEvent(known))
	for _, c := range attachCommands(id, first, nodes, g.GetTargets()) {
		if _, err := l.Propose(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// attachCommands cuts a graph into commands of bounded size.
func attachCommands(id string, first int, nodes []*kilnv1.AttachNode, targets []*kilnv1.Target) []*kilnv1.Command {
	var commands []*kilnv1.Command
	for at := min(first, len(nodes)); at < len(nodes) || len(commands) == 0; {
		end, size := at, 0
		for ; end < len(nodes) && (end == at || size < attachBytes); end++ {
			size += proto.Size(nodes[end])
		}
		run := &kilnv1.AttachCommand{Build: id, First: uint32(at), Total: uint32(len(nodes)), Nodes: nodes[at:end]}
		if at == 0 {
			run.Targets = targets
		}
		commands = append(commands, &kilnv1.Command{Command: &kilnv1.Command_Attach{Attach: run}})
		at = end
	}
	return commands
}

// gather reads what the outputs of a build are, and ends it.
func (l *Duty) gather(ctx context.Context, id string) error {
	var targets []*kilnv1.Target
	var makers []*state.Node
	l.View(func(m *state.Machine) {
		if b := m.Build(id); b != nil && !b.Ended() && b.Complete() {
			targets = b.Targets
			for _, t := range targets {
				n := *b.Nodes[state.GraphNode+int(t.GetFrom().GetNode())]
				makers = append(makers, &n)
			}
		}
	})
	if len(makers) < len(targets) {
		return nil
	}
	var outputs []*kilnv1.BuildOutput
	for i, t := range targets {
		digest := state.OutputOf(makers[i].Result, t.GetFrom().GetName()).GetDigest()
		data, err := readBlob(ctx, l.Blobs, digest, maxArtifactBytes)
		if errors.Is(err, cache.ErrNotFound) {
			return l.lost(ctx, id, digest)
		}
		if err != nil {
			return fmt.Errorf("read the output %s of %s: %w", t.GetFile(), makers[i].Spec.GetLabel(), err)
		}
		artifact, err := artifact.Decode(data)
		if err != nil {
			return fmt.Errorf("the output %s of %s: %w", t.GetFile(), makers[i].Spec.GetLabel(), err)
		}
		if artifact.Size == 0 {
			continue
		}
		if artifact.Digest.IsZero() {
			return fmt.Errorf("the output %s of %s has no digest of its own", t.GetFile(), makers[i].Spec.GetLabel())
		}
		if err := l.Store.Put(ctx, cache.ArtifactKey(artifact.Digest), bytes.NewReader(data), int64(len(data)), cache.IfAbsent); err != nil {
			return fmt.Errorf("keep the output %s: %w", t.GetFile(), err)
		}
		outputs = append(outputs, &kilnv1.BuildOutput{
			Platform: t.GetPlatform(), Format: t.GetFormat(), File: t.GetFile(), Step: makers[i].Key,
			Artifact: digest, Digest: artifact.Digest.String(), Size: artifact.Size,
		})
	}
	l.Tell(&kilnv1.Command{Command: &kilnv1.Command_Finish{Finish: &kilnv1.FinishCommand{Build: id, Outputs: outputs}}})
	return nil
}

// keepResult writes down what a builder made. A resolve's answer holds for its build only.
func (l *Duty) keepResult(t *state.Task) {
	digest, err := cache.ParseDigest(t.Key)
	if err != nil || t.Result.GetKind() == step.Resolve {
		return
	}
	l.found.index.Put(t.Key, t.Result)
	l.recorder.keep(cache.ResultKey(digest), t.Result)
}

// keepRecord writes the record of an ended build, and lets the build leave the state.
func (l *Duty) keepRecord(id string) {
	l.Spawn(func() {
		ctx, cancel := context.WithTimeout(l.Writing, recordTimeout)
		defer cancel()
		var r *kilnv1.BuildRecord
		var final *kilnv1.Final
		fromFinal := false
		l.View(func(m *state.Machine) {
			if b := m.Build(id); b != nil && b.Ended() {
				r, fromFinal = feed.RecordOf(b), b.Final
				if r.State == kilnv1.BuildState_BUILD_STATE_DONE && !fromFinal {
					final = finalOf(b, r)
				}
			}
		})
		if r == nil {
			return
		}
		if fromFinal {
			known := l.Finals.Get(id)
			if known == nil { // another leader found it
				known, _ = l.found.final(ctx, r.GetPlanKey()) // without it the record has no nodes, but all outputs
			}
			if known != nil {
				r.Nodes = HitsOf(known)
			}
		}
		if final != nil {
			if key, err := cache.ParseDigest(r.GetPlanKey()); err == nil {
				l.found.index.Put(finalKey(key.String()).String(), final)
				// Replaced, not kept: an older one leads to blobs that are gone.
				if err := record.Put(ctx, l.Store, cache.ResultKey(finalKey(key.String())), final); err != nil {
					l.Log.Warn("the outputs of a plan were not kept", "build", id, "error", err)
				}
			}
		}
		if err := record.PutBuild(ctx, l.Store, r); err != nil {
			l.Log.Error("the record of a build was not kept; the build stays in memory", "build", id, "error", err)
			return
		}
		l.Finals.set(id, nil)
		l.Tell(&kilnv1.Command{Command: &kilnv1.Command_Forget{Forget: &kilnv1.ForgetCommand{Build: id}}})
	})
}

// finalOf is what a later build with the same plan needs to know.
func finalOf(b *state.Build, r *kilnv1.BuildRecord) *kilnv1.Final {
	final := &kilnv1.Final{PlanKey: r.GetPlanKey(), Nodes: r.GetNodes(), Outputs: r.GetOutputs()}
	seen := map[string]bool{}
	add := func(d string) {
		if !seen[d] {
			seen[d] = true
			final.References = append(final.References, d)
		}
	}
	for _, t := range b.Targets {
		made := b.Nodes[state.GraphNode+int(t.GetFrom().GetNode())].Result
		add(state.OutputOf(made, t.GetFrom().GetName()).GetDigest())
		for _, d := range made.GetReferences() {
			add(d)
		}
	}
	return final
}
