package access

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
)

// Command fills in what all commands below kiln farm share: the flags that name the farm, and its client.
func Command(env ui.Env, cmd *cobra.Command, run func(ctx context.Context, f *client.Farm, args []string) error) *cobra.Command {
	var flags Flags
	flags.AddFarm(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		flags.Fill(env)
		f, err := flags.Dial(cmd.Context(), env, Patience)
		if err != nil {
			return err
		}
		return run(cmd.Context(), f, args)
	}
	return cmd
}
