package builder

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	// maxError keeps a completion small.
	maxError = 4 << 10
	// completeFor is how long a completion is repeated: after that the lease has expired for sure.
	completeFor = time.Minute
	completeTry = 5 * time.Second
	// fetchLimit is how many inputs of one step are fetched at a time.
	fetchLimit = 4
)

// errTooLong: the step, not something that it waited for, ran out of time.
var errTooLong = errors.New("took longer than it may")

// work runs the step of a lease and reports how it ended.
func (b *Builder) work(ctx context.Context, lease *kilnv1.Lease) {
	if parent := lease.GetTraceparent(); parent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
	}
	ctx, span := otel.Tracer("kiln/builder").Start(ctx, "step "+lease.GetNode().GetKind(), trace.WithAttributes(
		attribute.String("kiln.step", lease.GetTask()), attribute.String("kiln.build", lease.GetBuild().GetId()),
		attribute.String("kiln.label", lease.GetNode().GetLabel()), attribute.Int("kiln.attempt", int(lease.GetAttempt()))))
	defer span.End()
	log := newStepLog(b, lease)
	started := time.Now()
	running.Add(ctx, 1)
	defer running.Add(ctx, -1)
	bounded := ctx
	longest := time.Duration(lease.GetDeadlineMs()) * time.Millisecond
	if own := b.cfg.StepDeadline; own > 0 && (longest == 0 || own < longest) {
		longest = own
	}
	if longest > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeoutCause(ctx, longest, errTooLong)
		defer cancel()
	}
	res, err := b.run(bounded, lease, log)
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(context.Cause(bounded), errTooLong) {
		err = fmt.Errorf("%s %w: %s", lease.GetNode().GetLabel(), errTooLong, longest)
	}
	if cause := context.Cause(ctx); errors.Is(cause, errStopped) || errors.Is(cause, errDraining) {
		log.close()
		return // nobody waits for this lease any more
	}
	report := b.report(lease, res, err)
	if err != nil {
		span.SetStatus(codes.Error, report.Error)
		b.cfg.Log.InfoContext(ctx, "step did not end well", "step", lease.GetTask(), "build", lease.GetBuild().GetId(),
			"label", lease.GetNode().GetLabel(), "completion", report.Completion, "error", report.Error)
	}
	stepTime.Record(ctx, time.Since(started).Seconds(), metric.WithAttributes(attribute.String("kind", lease.GetNode().GetKind()),
		attribute.String("completion", strings.ToLower(strings.TrimPrefix(report.GetCompletion().String(), "COMPLETION_")))))
	report.StartedUnixMs = started.UnixMilli()
	report.DurationUs = time.Since(started).Microseconds()
	report.Log = log.close()
	b.complete(ctx, report)
}

// run makes sure that the inputs are there and runs the step. A panic is an error: what steps read comes from anybody.
func (b *Builder) run(ctx context.Context, lease *kilnv1.Lease, log *stepLog) (res *step.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			log.line(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
			err = fmt.Errorf("step %s ended in a panic: %v", lease.GetNode().GetLabel(), p)
		}
	}()
	node := lease.GetNode()
	runner, ok := b.cfg.Runners[node.GetKind()]
	if !ok || node.GetVersion() != step.Versions[node.GetKind()] {
		return nil, fmt.Errorf("this builder does not know steps of kind %s, version %d", node.GetKind(), node.GetVersion())
	}
	req := &step.Request{Kind: node.GetKind(), Version: node.GetVersion(), Params: node.GetParams(), Build: lease.GetBuild(), Unpack: lease.GetUnpack(), Blobs: b.cfg.Blobs, Log: log.line}
	if req.Unpack == nil {
		req.Unpack = b.cfg.Unpack
	}
	for _, in := range node.GetInputs() {
		d, err := cache.ParseDigest(in.GetDigest())
		if err != nil {
			return nil, step.Failf("input %s of %s: %w", in.GetName(), node.GetLabel(), err)
		}
		req.Inputs = append(req.Inputs, step.Input{Name: in.GetName(), Digest: d})
	}
	if err := b.fetch(ctx, lease, req.Inputs, log.line); err != nil {
		return nil, err
	}
	return runner.Run(ctx, req)
}

// fetch brings inputs that are not in the cache from their sources; one without a source is missing.
func (b *Builder) fetch(ctx context.Context, lease *kilnv1.Lease, inputs []step.Input, log func(string)) error {
	digests := make([]cache.Digest, len(inputs))
	for i := range inputs {
		digests[i] = inputs[i].Digest
	}
	missing, err := b.cfg.Blobs.MissingBlobs(ctx, digests)
	if err != nil {
		return fmt.Errorf("look for the inputs of %s: %w", lease.GetNode().GetLabel(), err)
	}
	sources := map[string]*kilnv1.Source{}
	for _, s := range lease.GetNode().GetSources() {
		sources[s.GetDigest()] = s
	}
	for _, d := range missing {
		if sources[d.String()] == nil || b.cfg.Fetcher == nil {
			return &step.MissingBlob{Digest: d}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchLimit)
	for _, d := range missing {
		group.Go(func() error { return b.cfg.Fetcher.Fetch(ctx, sources[d.String()], lease.GetBuild(), log) })
	}
	return group.Wait()
}

// report says to which class the end of a step belongs.
func (b *Builder) report(lease *kilnv1.Lease, res *step.Response, err error) *kilnv1.CompleteRequest {
	r := &kilnv1.CompleteRequest{Builder: b.cfg.ID, Session: b.session, Epoch: lease.GetEpoch(), Number: lease.GetNumber(), Task: lease.GetTask()}
	var failure *step.Failure
	var missing *step.MissingBlob
	var absent *cache.AbsentError
	switch {
	case err == nil:
		r.Completion = kilnv1.Completion_COMPLETION_DONE
		r.Outputs, r.References = outputs(res)
		return r
	case errors.As(err, &missing):
		r.Completion, r.Missing = kilnv1.Completion_COMPLETION_INPUT_MISSING, missing.Digest.String()
	case errors.As(err, &absent):
		r.Completion, r.Missing = kilnv1.Completion_COMPLETION_INPUT_MISSING, absent.Digest.String()
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT): // whatever the step made of it
		r.Completion = kilnv1.Completion_COMPLETION_INFRA
	case errors.As(err, &failure):
		r.Completion = kilnv1.Completion_COMPLETION_FAILED
	default:
		r.Completion = kilnv1.Completion_COMPLETION_INFRA
	}
	r.Error = sendable(err.Error(), maxError)
	return r
}

// outputs are a response's outputs and, once each, all blobs that belong to them.
func outputs(res *step.Response) (outs []*kilnv1.Output, refs []string) {
	seen := map[cache.Digest]bool{}
	add := func(d cache.Digest) {
		if !seen[d] {
			seen[d] = true
			refs = append(refs, d.String())
		}
	}
	for _, o := range res.Outputs {
		outs = append(outs, &kilnv1.Output{Name: o.Name, Digest: o.Digest.String(), Size: o.Size})
		add(o.Digest)
	}
	for _, d := range res.References {
		add(d)
	}
	return outs, refs
}

// complete repeats the report until a leader has answered, or nobody can want it any more.
func (b *Builder) complete(ctx context.Context, report *kilnv1.CompleteRequest) {
	ctx, cancel := context.WithTimeout(ctx, completeFor)
	defer cancel()
	for wait := retryFirst; ; wait = min(wait*2, retryMost) {
		try, stop := context.WithTimeout(ctx, completeTry)
		var reply kilnv1.CompleteReply
		err := bus.Request(try, b.cfg.Bus, b.subjects.Complete(b.cfg.ID), report, &reply)
		stop()
		if err == nil {
			if !reply.GetAccepted() {
				b.cfg.Log.DebugContext(ctx, "a completion came too late", "step", report.GetTask())
			}
			return
		}
		if errors.Is(err, bus.ErrTooLarge) && len(report.References) > 0 {
			// The leader can do without them only by failing the step, with a sentence.
			report = &kilnv1.CompleteRequest{Builder: report.Builder, Session: report.Session, Epoch: report.Epoch, Number: report.Number, Task: report.Task,
				Completion: kilnv1.Completion_COMPLETION_FAILED, Error: fmt.Sprintf("the step made %d blobs, more than can be reported", len(report.References))}
			continue
		}
		if !sleep(ctx, jitter(wait)) {
			b.cfg.Log.Warn("a completion could not be reported", "step", report.GetTask(), "error", err)
			return
		}
	}
}
