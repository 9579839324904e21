package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/bus"
	"github.com/kiln-farm/kiln/internal/meter"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// Listen implements duty.Listener: it answers builders.
func (l *Duty) Listen() (services []*bus.Service, all error) {
	keep := func(s *bus.Service, err error) { services, all = append(services, s), errors.Join(all, err) }
	keep(bus.Serve(l.Bus, l.Subjects.AllCompletes(), busRequests, l.complete))
	keep(bus.Serve(l.Bus, l.Subjects.AllHeartbeats(), busRequests, l.heartbeat))
	keep(bus.Serve(l.Bus, l.Subjects.AllReleases(), busRequests, l.release))
	keep(bus.Serve(l.Bus, l.Subjects.AllLeases(), busRequests, l.lease))
	return services, all
}

// claims refuses what a builder says in the name of another.
func claims(ctx context.Context, builder string) error {
	if from := bus.Sender(ctx); from != builder {
		return fmt.Errorf("builder %.80q speaks for %.80q", from, builder)
	}
	return nil
}

// lease holds a builder's request until there is work for it.
func (l *Duty) lease(ctx context.Context, req *kilnv1.LeaseRequest) (*kilnv1.LeaseReply, error) {
	if req.GetBuilder().GetId() == "" || req.GetCredits() == 0 {
		return nil, errors.New("a request for work needs a builder's id and at least one credit")
	}
	if err := claims(ctx, req.GetBuilder().GetId()); err != nil {
		return nil, err
	}
	l.Leases.heard(req.GetBuilder(), time.Now())
	wait := min(max(time.Duration(req.GetWaitMs())*time.Millisecond, 0), maxLeaseWait)
	return &kilnv1.LeaseReply{Leases: l.Sched.ask(ctx, req.GetBuilder(), int(min(req.GetCredits(), replica.MaxBatch)), req.GetPoll(), req.GetPolls(), wait)}, nil
}

// commitLeases leases items to a builder: first in the log, then in the answer.
func (l *Duty) commitLeases(a *ask, items []item, done func([]*kilnv1.Lease)) {
	commands := make([]*kilnv1.Command, len(items))
	for i, it := range items {
		commands[i] = &kilnv1.Command{Command: &kilnv1.Command_Lease{Lease: &kilnv1.LeaseCommand{
			Task: it.task, Builder: a.info.GetId(), Session: a.info.GetSession(),
		}}}
	}
	l.Send(commands, func(results []state.Result, err error) {
		if err != nil {
			done(nil)
			return
		}
		var unused []string
		var granted []*kilnv1.Lease
		var back []*kilnv1.Command
		var early []string
		size := 0
		l.View(func(m *state.Machine) {
			for i, r := range results {
				if r.Refused == state.RefusedNotReady {
					early = append(early, items[i].task)
				}
				t := m.Task(items[i].task)
				if r.Lease == 0 || t == nil || t.Lease != r.Lease {
					unused = append(unused, items[i].task)
					continue
				}
				lease, err := l.leaseOf(m, t)
				ref := &kilnv1.LeaseRef{Epoch: m.Epoch(), Number: t.Lease, Task: t.Key}
				if size += proto.Size(lease); err != nil || size > maxLeaseBytes && len(granted) > 0 {
					unused = append(unused, items[i].task)
					back = append(back, &kilnv1.Command{Command: &kilnv1.Command_Release{Release: ref}})
					continue
				}
				longest := stepDeadline
				if lease.GetNode().GetKind() == step.Resolve {
					longest = resolveDeadline
				}
				lease.DeadlineMs = longest.Milliseconds()
				l.Leases.grant(ref, t.Builder, t.Session, a.poll, time.Now(), longest)
				granted = append(granted, lease)
				wait := time.Since(items[i].since)
				l.Waits.add(wait)
				leaseWaits.Record(l.Context(), wait.Seconds())
				if l.Leased != nil {
					l.Leased(wait)
				}
			}
		})
		l.Sched.ended(unused...)
		for _, task := range early {
			l.later(earlyWait, task)
		}
		l.Tell(back...)
		done(granted)
	})
}

// leaseOf is a task as its builder gets it: with digests for inputs.
func (l *Duty) leaseOf(m *state.Machine, t *state.Task) (*kilnv1.Lease, error) {
	w := t.Waiters[0]
	b := m.Build(w.Build)
	spec := b.Nodes[w.Node].Spec
	inputs, err := b.Inputs(w.Node)
	if err != nil {
		return nil, err
	}
	n := &kilnv1.Node{
		Kind: spec.GetKind(), Version: spec.GetVersion(), Params: spec.GetParams(), Platform: spec.GetPlatform(),
		Label: spec.GetLabel(), Sources: spec.GetSources(),
	}
	for _, in := range inputs {
		n.Inputs = append(n.Inputs, &kilnv1.Input{Name: in.Name, From: &kilnv1.Input_Digest{Digest: in.Digest.String()}})
	}
	return &kilnv1.Lease{
		Epoch: m.Epoch(), Number: t.Lease, Task: t.Key, Node: n, TtlMs: LeaseTTL.Milliseconds(), Build: b.Spec, Attempt: t.Attempts, Unpack: unpackLimits(m, t, n.Kind),
		Traceparent: l.Spans.StartStep(t.Lease, w.Build, t.Key, n.Kind, n.Label, t.Builder),
	}, nil
}

func (l *Duty) complete(ctx context.Context, req *kilnv1.CompleteRequest) (*kilnv1.CompleteReply, error) {
	if err := claims(ctx, req.GetBuilder()); err != nil {
		return nil, err
	}
	req, err := l.doubted(ctx, req)
	if err != nil {
		return nil, err
	}
	results, err := l.Propose(ctx, &kilnv1.Command{Command: &kilnv1.Command_Complete{Complete: req}})
	if err != nil {
		return nil, err
	}
	if results[0].Refused == "" {
		if req.GetCompletion() == kilnv1.Completion_COMPLETION_INFRA {
			l.strikes.failed(req.GetTask(), req.GetBuilder())
		}
		l.Leases.end(req.GetTask(), req.GetNumber())
		l.Leases.completed(req.GetBuilder(), req.GetError() == "")
		completions.Add(ctx, 1, meter.Label("completion", meter.Enum(req.GetCompletion().String(), "COMPLETION_")))
		l.Spans.Step(req.GetNumber(), req.GetError())
	}
	return &kilnv1.CompleteReply{Accepted: results[0].Refused == ""}, nil
}

func (l *Duty) heartbeat(ctx context.Context, req *kilnv1.HeartbeatRequest) (*kilnv1.HeartbeatReply, error) {
	if err := claims(ctx, req.GetBuilder().GetId()); err != nil {
		return nil, err
	}
	if req.GetDraining() {
		l.Sched.farewell(req.GetBuilder().GetId())
	}
	unknown, lost := l.Leases.beat(req, l.Term(), time.Now())
	var commands []*kilnv1.Command
	for _, ref := range lost {
		commands = append(commands, &kilnv1.Command{Command: &kilnv1.Command_Release{Release: ref}})
	}
	l.Tell(commands...)
	polls := l.Sched.unknown(req.GetBuilder().GetId(), req.GetBuilder().GetSession(), req.GetPolls())
	return &kilnv1.HeartbeatReply{Stop: unknown, UnknownPolls: polls}, nil
}

func (l *Duty) release(ctx context.Context, req *kilnv1.ReleaseRequest) (*kilnv1.ReleaseReply, error) {
	if err := claims(ctx, req.GetBuilder()); err != nil {
		return nil, err
	}
	var commands []*kilnv1.Command
	l.View(func(m *state.Machine) {
		for _, ref := range req.GetLeases() {
			if t := m.Task(ref.GetTask()); t != nil && t.Builder == req.GetBuilder() {
				commands = append(commands, &kilnv1.Command{Command: &kilnv1.Command_Release{Release: ref}})
			}
		}
	})
	if len(commands) > 0 {
		if _, err := l.Propose(ctx, commands...); err != nil {
			return nil, err
		}
		for _, ref := range req.GetLeases() {
			l.Spans.Step(ref.GetNumber(), "given back")
		}
	}
	return &kilnv1.ReleaseReply{}, nil
}

// shine tells builders again and again who leads, so that they ask anew when that has changed.
func (l *Duty) shine(ctx context.Context) {
	beacon := &kilnv1.LeaderBeacon{Node: l.Node, Term: l.Term()}
	ticker := time.NewTicker(beaconEvery)
	defer ticker.Stop()
	for {
		if err := bus.Publish(ctx, l.Bus, l.Subjects.Leader(), beacon); err != nil {
			l.Log.Debug("builders could not be told who leads", "error", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// watchLeases takes leases away from builders that are gone or stuck.
func (l *Duty) watchLeases(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			l.Expire(now)
			l.Sched.look()
		}
	}
}

func (l *Duty) Expire(now time.Time) {
	var commands []*kilnv1.Command
	for ref, reason := range l.Leases.overdue(now) {
		l.Log.Warn("a lease is taken away", "step", ref.GetTask(), "lease", ref.GetNumber(), "reason", reason)
		commands = append(commands, &kilnv1.Command{Command: &kilnv1.Command_Expire{Expire: &kilnv1.ExpireCommand{Lease: ref, Reason: reason}}})
		l.Leases.end(ref.GetTask(), ref.GetNumber())
		l.Spans.Step(ref.GetNumber(), reason)
	}
	l.Tell(commands...)
}
