package client

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// cancelTime is how long a client that is told to stop tries to tell the farm.
const cancelTime = 5 * time.Second

// Build submits spec and calls on for each event until the build has ended; it returns the last event's change.
// When ctx ends first, the build is canceled on the farm.
func (f *Farm) Build(ctx context.Context, spec *kilnv1.BuildSpec, on func(*kilnv1.BuildEvent)) (*kilnv1.StateChanged, error) {
	err := f.Submit(ctx, spec)
	var end *kilnv1.StateChanged
	if err == nil {
		end, err = f.Follow(ctx, spec.GetId(), on)
	}
	if ctx.Err() != nil {
		ctx, done := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
		defer done()
		_ = f.Cancel(ctx, spec.GetId(), "stopped by its user") // what the farm does not hear it finds out by itself
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return end, err
}

// Submit may be repeated: the same id is the same build.
func (f *Farm) Submit(ctx context.Context, spec *kilnv1.BuildSpec) error {
	err := f.call(ctx, "submit the build", func() error {
		_, err := f.API.Submit(ctx, connect.NewRequest(&kilnv1.SubmitRequest{Spec: spec}))
		return err
	})
	if err == nil {
		f.learn(ctx)
	}
	return err
}

// Follow watches a build until its end, over as many connections as it takes.
func (f *Farm) Follow(ctx context.Context, id string, on func(*kilnv1.BuildEvent)) (*kilnv1.StateChanged, error) {
	var last uint64
	wait := backoff{most: f.patience}
	for {
		begun := time.Now()
		end, err := f.watch(ctx, id, &last, func(e *kilnv1.BuildEvent) {
			wait = backoff{most: f.patience}
			f.heard.Store(true)
			on(e)
		})
		if end != nil {
			return end, nil
		}
		if answered(err) {
			f.heard.Store(true)
		}
		var unreached *dialError
		if time.Since(begun) > maxDelay && !errors.As(err, &unreached) { // a farm that had nothing to tell for a while
			wait = backoff{most: f.patience}
		}
		if err != nil && !f.passing(err) || !wait.sleep(ctx) {
			return nil, f.explain("follow the build", err)
		}
		f.elsewhere()
	}
}

func (f *Farm) watch(ctx context.Context, id string, last *uint64, on func(*kilnv1.BuildEvent)) (*kilnv1.StateChanged, error) {
	stream, err := f.API.Watch(ctx, connect.NewRequest(&kilnv1.WatchRequest{Id: id, After: *last}))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		event := stream.Msg().GetEvent()
		*last = max(*last, event.GetSequence())
		on(event)
		if change := event.GetState(); change.GetState() >= kilnv1.BuildState_BUILD_STATE_DONE {
			return change, nil
		}
	}
	return nil, stream.Err()
}

// Cancel ends a build that has not ended.
func (f *Farm) Cancel(ctx context.Context, id, reason string) error {
	return f.call(ctx, "cancel the build", func() error {
		_, err := f.API.Cancel(ctx, connect.NewRequest(&kilnv1.CancelRequest{Id: id, Reason: reason}))
		return err
	})
}

// learn asks the farm where its other coordinators are, so that the death of the one that was named is no end. A farm
// that does not say is used as it was named.
func (f *Farm) learn(ctx context.Context) {
	if !f.secure {
		return
	}
	ctx, done := context.WithTimeout(ctx, cancelTime)
	defer done()
	resp, err := f.Admin.Topology(ctx, connect.NewRequest(&kilnv1.TopologyRequest{}))
	if err != nil {
		return
	}
	for _, address := range resp.Msg.GetCoordinators() {
		f.dialer.add(address)
	}
}
