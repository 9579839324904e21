package history

import (
	"context"
	"errors"
	"fmt"
	"os"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/userfile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	// searchBuilds is how many of the last builds are looked through for one of a name.
	searchBuilds = 200

	Which = "BUILD is an id, the name of a\nbuild for its newest one, or last for the newest of all."
	Arg   = "the id or the name of a build, or last"
)

// Builds finds builds: in the cache, or at a farm.
type Builds struct {
	Team  string
	Farm  *client.Farm // nil: the cache of this machine
	Get   func(ctx context.Context, team, id string) (*kilnv1.BuildRecord, error)
	List  func(ctx context.Context, req *kilnv1.ListBuildsRequest) ([]*kilnv1.BuildRecord, error) // newest first, perhaps of other names too
	Blobs client.Blobs
	Store *disk.Store // the cache of this machine; nil at a farm
}

func Open(ctx context.Context, env ui.Env, flags *access.Flags) (*Builds, error) {
	if flags.Farm == "" {
		return OpenCache(flags)
	}
	return OpenFarm(ctx, env, flags)
}

// OpenFarm is for commands that need a farm.
func OpenFarm(ctx context.Context, env ui.Env, flags *access.Flags) (*Builds, error) {
	f, err := flags.Dial(ctx, env, access.Patience)
	if err != nil {
		return nil, err
	}
	return &Builds{Team: flags.Team, Farm: f, Get: f.Record, List: f.Records, Blobs: f.Blobs}, nil
}

func OpenCache(flags *access.Flags) (*Builds, error) {
	if _, err := os.Stat(flags.Cache); err != nil {
		return nil, ui.Usagef("cache directory %s: %w; nothing was built with it yet (--farm looks at a farm's builds)", flags.Cache, userfile.Cause(err))
	}
	store, err := disk.Open(flags.Cache)
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	h := &Builds{Team: flags.Team, Blobs: client.LocalBlobs(store), Store: store}
	h.Get = func(ctx context.Context, team, id string) (*kilnv1.BuildRecord, error) {
		return record.GetBuild(ctx, store, team, id)
	}
	h.List = func(ctx context.Context, req *kilnv1.ListBuildsRequest) ([]*kilnv1.BuildRecord, error) {
		return record.ListBuilds(ctx, store, req.GetTeam(), int(req.GetLimit()))
	}
	return h, nil
}

// Find returns the build that a command's argument means: an id, a name, or last; the last one of name when that is
// not empty.
func (h *Builds) Find(ctx context.Context, arg, name string) (*kilnv1.BuildRecord, error) {
	if id, err := uuid.Parse(arg); err == nil {
		return h.record(ctx, id.String())
	}
	if arg != "last" {
		name = arg
	}
	builds, err := h.List(ctx, &kilnv1.ListBuildsRequest{Team: h.Team, Name: name, Limit: searchBuilds})
	if err != nil {
		return nil, err
	}
	for _, b := range builds {
		if name == "" || b.GetSpec().GetName() == name {
			return h.record(ctx, b.GetSpec().GetId())
		}
	}
	if name == "" {
		return nil, ui.Usagef("team %s has no builds yet", h.Team)
	}
	return nil, ui.Usagef("there is no build called %q of team %s among the last %d", name, h.Team, searchBuilds)
}

// Before returns the build of the same name before one that ended well, nil when there is none.
func (h *Builds) Before(ctx context.Context, build *kilnv1.BuildRecord) (*kilnv1.BuildRecord, error) {
	spec := build.GetSpec()
	builds, err := h.List(ctx, &kilnv1.ListBuildsRequest{Team: spec.GetTeam(), Name: spec.GetName(), Limit: searchBuilds})
	if err != nil {
		return nil, err
	}
	for _, b := range builds {
		if b.GetSpec().GetName() == spec.GetName() && b.GetSpec().GetId() < spec.GetId() && b.GetState() == kilnv1.BuildState_BUILD_STATE_DONE {
			return h.record(ctx, b.GetSpec().GetId())
		}
	}
	return nil, nil
}

// record reads a build of the team. At a farm an id is enough: it is found whichever team it is of.
func (h *Builds) record(ctx context.Context, id string) (*kilnv1.BuildRecord, error) {
	build, err := h.Get(ctx, h.Team, id)
	if Missing(err) && h.Farm != nil {
		build, err = h.Get(ctx, "", id)
	}
	if Missing(err) {
		return nil, ui.Usagef("there is no build %s of team %s", id, h.Team)
	}
	return build, err
}

func Missing(err error) bool {
	var api *client.APIError
	return errors.Is(err, cache.ErrNotFound) || errors.As(err, &api) && api.Code == connect.CodeNotFound
}

// Ended says how a build ended, as the error that the command which waited for it ends with.
func Ended(state kilnv1.BuildState, text string) error {
	switch state {
	case kilnv1.BuildState_BUILD_STATE_DONE:
		return nil
	case kilnv1.BuildState_BUILD_STATE_CANCELED:
		return fmt.Errorf("the build was canceled: %s", text)
	}
	return errors.New(text)
}

// Find opens where builds are remembered, and finds the one that a user names.
func Find(ctx context.Context, env ui.Env, flags *access.Flags, name string) (*Builds, *kilnv1.BuildRecord, error) {
	flags.Fill(env)
	h, err := Open(ctx, env, flags)
	if err != nil {
		return nil, nil, err
	}
	build, err := h.Find(ctx, name, "")
	return h, build, err
}
