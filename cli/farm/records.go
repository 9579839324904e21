package farm

import (
	"context"

	"connectrpc.com/connect"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Record returns the record of a build.
func (f *Farm) Record(ctx context.Context, team, id string) (*kilnv1.BuildRecord, error) {
	resp, err := f.API.GetBuild(ctx, connect.NewRequest(&kilnv1.GetBuildRequest{Team: team, Id: id}))
	if err != nil {
		return nil, f.explain("read the build", err)
	}
	return resp.Msg.GetBuild(), nil
}

// Records returns a team's last builds of that name, or of all when name is empty, newest first.
func (f *Farm) Records(ctx context.Context, team, name string, limit uint32) ([]*kilnv1.BuildRecord, error) {
	resp, err := f.API.ListBuilds(ctx, connect.NewRequest(&kilnv1.ListBuildsRequest{Team: team, Name: name, Limit: limit}))
	if err != nil {
		return nil, f.explain("list builds", err)
	}
	return resp.Msg.GetBuilds(), nil
}
