package machines

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/fleet/local"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// rooms is where it is kept what machines boot: at a farm, or in the cache of a host that is its own farm.
type rooms interface {
	Intent(ctx context.Context) (*kilnv1.Intent, error)
	// Change applies a change, or says why it makes no sense.
	Change(ctx context.Context, c *kilnv1.RoomCommand, dryRun bool) (problems []string, err error)
	Boots(ctx context.Context, machine string, follow bool, on func(*kilnv1.BootEvent) error) error
}

// openRooms opens that of the flags, with the blobs that go with it.
func openRooms(ctx context.Context, env ui.Env, flags *access.Flags) (rooms, *history.Builds, error) {
	flags.Fill(env)
	if flags.Farm != "" {
		h, err := history.OpenFarm(ctx, env, flags)
		if err != nil {
			return nil, nil, err
		}
		return farmRooms{h.Farm}, h, nil
	}
	store, err := disk.Open(flags.Cache)
	if err != nil {
		return nil, nil, ui.Usagef("%w", err)
	}
	h, err := history.OpenCache(flags)
	return hostRooms{local.New(store)}, h, err
}

// errStale: somebody else changed the intent first. It says nothing itself.
var errStale = errors.New("")

// farmRooms is a farm's.
type farmRooms struct{ farm *client.Farm }

func (r farmRooms) Intent(ctx context.Context) (*kilnv1.Intent, error) { return r.farm.Intent(ctx) }

func (r farmRooms) Change(ctx context.Context, c *kilnv1.RoomCommand, dryRun bool) ([]string, error) {
	res, err := client.Ask(ctx, r.farm, "change what machines boot", r.farm.Room.Change, &kilnv1.ChangeRequest{Change: c, DryRun: dryRun})
	var refused *client.APIError
	if errors.As(err, &refused) && refused.Code == connect.CodeAborted {
		err = fmt.Errorf("%w%w", errStale, err)
	}
	return res.GetProblems(), err
}

func (r farmRooms) Boots(ctx context.Context, machine string, follow bool, on func(*kilnv1.BootEvent) error) error {
	stream, err := r.farm.Room.Boots(ctx, connect.NewRequest(&kilnv1.BootsRequest{Machine: machine, Follow: follow}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if err := on(stream.Msg().GetEvent()); err != nil {
			return err
		}
	}
	return stream.Err()
}

// hostRooms is a host's that is its own farm.
type hostRooms struct{ *local.Room }

func (r hostRooms) Change(ctx context.Context, c *kilnv1.RoomCommand, dryRun bool) ([]string, error) {
	problems, err := r.Room.Change(ctx, c, dryRun)
	switch {
	case errors.Is(err, local.ErrStale):
		err = ui.Usagef("%w%w", errStale, err)
	case errors.Is(err, local.ErrSubnets):
		err = ui.Usagef("%w", err)
	}
	return problems, err
}

// roomCommand is a command that works on what machines boot.
func roomCommand(env ui.Env, use, short, example string, args cobra.PositionalArgs, run func(ctx context.Context, room rooms, args []string) error) *cobra.Command {
	var f access.Flags
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			room, _, err := openRooms(cmd.Context(), env, &f)
			if err != nil {
				return err
			}
			return run(cmd.Context(), room, args)
		},
	}
	f.Add(cmd.Flags())
	return cmd
}
