package client

import (
	"context"

	"connectrpc.com/connect"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Record returns the record of a build.
func (f *Farm) Record(ctx context.Context, team, id string) (*kilnv1.BuildRecord, error) {
	resp, err := Ask(ctx, f, "read the build", f.API.GetBuild, &kilnv1.GetBuildRequest{Team: team, Id: id})
	return resp.GetBuild(), err
}

// Records returns builds of a team, newest first, without what is known of their steps.
func (f *Farm) Records(ctx context.Context, req *kilnv1.ListBuildsRequest) ([]*kilnv1.BuildRecord, error) {
	resp, err := Ask(ctx, f, "list builds", f.API.ListBuilds, req)
	return resp.GetBuilds(), err
}

// Queue tells what waits, and why.
func (f *Farm) Queue(ctx context.Context, req *kilnv1.QueueRequest) (*kilnv1.QueueResponse, error) {
	return Ask(ctx, f, "read the queue", f.API.Queue, req)
}

// Status tells what the farm is doing now.
func (f *Farm) Status(ctx context.Context) (*kilnv1.StatusResponse, error) {
	return Ask(ctx, f, "read the farm's status", f.API.Status, &kilnv1.StatusRequest{})
}

// Intent is what machines are to boot, as the farm knows it.
func (f *Farm) Intent(ctx context.Context) (*kilnv1.Intent, error) {
	res, err := Ask(ctx, f, "ask what machines boot", f.Room.GetIntent, &kilnv1.GetIntentRequest{})
	return res.GetIntent(), err
}

// Ask makes one of the farm's calls, with the patience and the sentences of all of them. what is what the user wants:
// "drain the builder".
func Ask[Q, R any](ctx context.Context, f *Farm, what string, call func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), req *Q) (*R, error) {
	var answer *R
	err := f.call(ctx, what, func() error {
		resp, err := call(ctx, connect.NewRequest(req))
		if err == nil {
			answer = resp.Msg
		}
		return err
	})
	return answer, err
}
